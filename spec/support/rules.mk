# Targets that are not builds. See `make help`.
SPEC     ?=
SPECS    := sh spec/support/run_specs.sh
SPECFILE  = $(if $(SPEC),$(if $(wildcard spec/$(SPEC)),spec/$(SPEC),spec/$(SPEC)_spec.lua),spec)
JOBS     ?= $(shell nproc 2>/dev/null || echo 2)
export JOBS

.PHONY: setup demo test soak lint format asan tsan oom bench tune size doc install uninstall clean help abi cspec

setup:
	@sh spec/support/setup.sh build

demo:
	@sh spec/support/setup.sh build
	@$(MAKE) --no-print-directory -j$(JOBS) $(O)/moonlet
	$(O)/moonlet examples/digits.lua

test:
	@sh spec/support/setup.sh test
	@$(MAKE) --no-print-directory -j$(JOBS) all cspec
	MOONLET_BUILD=$(O) $(SPECS) $(LUA_BIN) $(SPECFILE)

soak:
	@sh spec/support/setup.sh test
	@$(MAKE) --no-print-directory -j$(JOBS) all cspec
	MOONLET_BUILD=$(O) MOONLET_SOAK=1 $(SPECS) $(LUA_BIN) $(SPECFILE)

# C programs that specs run: examples, and checks that need more than Lua can reach.
SHIMS := $(if $(OPENCL),$(patsubst %.c,$(O)/%.so,$(wildcard spec/*/*_shim.c)))
CSPEC := $(patsubst %.c,$(O)/%,$(filter-out %_shim.c %_wrap.c spec/support/embed.c,$(wildcard examples/*.c spec/*/*.c))) $(SHIMS)
cspec: $(CSPEC)
$(O)/examples/%: examples/%.c $(O)/libmoonlet.a
	@mkdir -p $(@D)
	$(CC) -std=c11 $(OPT) $(WARN) -Icore $(CFLAGS) $(LDFLAGS) -o $@ $< $(O)/libmoonlet.a $(LIBS)
# Vector math is measured as each instruction set runs it.
cspec: $(foreach i,$(filter-out baseline,$(ISAS)),$(O)/spec/support/vecmath_check.$(i))
$(O)/spec/support/vecmath_check.%: spec/support/vecmath_check.c backends/cpu/vecmath.h backends/cpu/vmath.h
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ISA_$*) -Ibackends/cpu $(LDFLAGS) -o $@ $< $(LIBS)
# The same examples, each with its first step run many times.
cspec: $(patsubst examples/%.c,$(O)/examples/repeat/%,$(wildcard examples/*.c))
$(O)/examples/repeat/%: examples/%.c spec/support/repeat_wrap.c $(O)/libmoonlet.a
	@mkdir -p $(@D)
	$(CC) -std=c11 $(OPT) $(WARN) -Icore $(CFLAGS) -Wl,--wrap=moon_program_run $(LDFLAGS) -o $@ $^ $(LIBS)
# Programs that hold Lua: one file with all in it, and one with a window where SDL2 is there.
LUA_ARCHIVE := $(wildcard $(shell pkg-config --variable=libdir $(LUA_PC) 2>/dev/null)/liblua$(LUA).a)
STATIC       = $(FOR_LUA)/libmoonlet-lua.a $(O)/libmoonlet.a
SDL         := $(shell pkg-config --exists sdl2 2>/dev/null && echo yes)
cspec: $(if $(LUA_ARCHIVE),$(O)/examples/host/single) $(if $(SDL),$(O)/examples/host/window)
# Lua written in C returns from errors by a jump: its unwind tables, 39 KB, serve debuggers only.
$(FOR_LUA)/liblua.a: $(LUA_ARCHIVE)
	@mkdir -p $(@D)
	$(OBJCOPY) -R .eh_frame $< $@
$(O)/examples/host/single: examples/host/single.c $(STATIC) $(FOR_LUA)/liblua.a
	@mkdir -p $(@D)
	$(CC) -std=c11 $(OPT) $(WARN) -no-pie $(LUA_CFLAGS) $(CFLAGS) $(PACK) $(LDFLAGS) -o $@ $< $(STATIC) $(FOR_LUA)/liblua.a $(LIBS)
$(O)/examples/host/window: examples/host/window.c $(STATIC)
	@mkdir -p $(@D)
	$(CC) -std=c11 $(OPT) $(WARN) -Icore $(LUA_CFLAGS) $(shell pkg-config --cflags sdl2) $(CFLAGS) $(LDFLAGS) -o $@ $< $(STATIC) \
	  $(LUA_LIBS) $(shell pkg-config --libs sdl2) $(LIBS)
# Libraries that stand in for a real one.
$(O)/spec/%_shim.so: spec/%_shim.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -O1 $(WARN) -fPIC -shared -Icore -Ibackends/opencl $(LDFLAGS) -o $@ $< -ldl
$(O)/spec/%: spec/%.c $(O)/libmoonlet.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $< $(O)/libmoonlet.a $(LIBS)

lint:
	@sh spec/support/lint.sh

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

# The same specs inside a program built with a sanitizer. Sizes that no machine has give NULL there as they do from malloc. Leaks of the Lua state itself cannot occur: it is closed at exit.
SANITIZED = $(MAKE) --no-print-directory O=$(O)-$(1) OPT="-O1 -g" CFLAGS="-fsanitize=$(2) -fno-omit-frame-pointer" all cspec
asan:
	$(call SANITIZED,asan,address$(comma)undefined -fno-sanitize-recover=undefined)
	ASAN_OPTIONS=allocator_may_return_null=1 MOONLET_BUILD=$(O)-asan MOONLET_SANITIZER=1 $(SPECS) $(O)-asan/moonlet $(SPECFILE)
tsan:
	$(call SANITIZED,tsan,thread)
	MOONLET_BUILD=$(O)-tsan MOONLET_SANITIZER=1 MOONLET_THREADS=4 $(SPECS) $(O)-tsan/moonlet $(if $(SPEC),$(SPECFILE),spec/backends spec/core $(wildcard spec/lua/bind/*_spec.lua) $(foreach s,fn training host live partial,spec/lua/$(s)_spec.lua) spec/ops/random_spec.lua)
comma := ,

oom:
	@$(MAKE) --no-print-directory -j$(JOBS) all cspec
	MOONLET_BUILD=$(O) MOONLET_SOAK=1 $(SPECS) $(LUA_BIN) spec/core/oom_spec.lua

bench:
	@sh spec/support/setup.sh build
	@$(MAKE) --no-print-directory all
	$(if $(filter-out 0,$(PEERS)),@sh spec/support/setup.sh peers $(O)/bench/venv)
	@env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE MOONLET_BUILD=$(O) PEERS="$(PEERS)" $(if $(DEVICE),MOONLET_DEVICE=$(DEVICE)) $(O)/moonlet spec/bench/run.lua "$(ONLY)"

# Rows of the cost table for this machine's instruction set, to be put into backends/cpu/tuned.def.
tune:
	@$(MAKE) --no-print-directory -s -j$(JOBS) all
	@MOONLET_BUILD=$(O) $(O)/moonlet spec/bench/tune.lua $(ONLY)

# Builds for each Lua and runs the Lua-side suite with it; one line for each.
abi:
	@sh spec/support/setup.sh abi
	@rm -f $(O)/abi.numbers
	@bad=0; for lua in 5.1 luajit 5.2 5.3 5.4; do \
	  $(MAKE) --no-print-directory -s LUA=$$lua $(O)/lua-$$lua/moonlet.so && \
	  MOONLET_ABI_NUMBERS=$(O)/abi.numbers MOONLET_BUILD=$(O)/lua-$$lua $$( [ $$lua = luajit ] && echo luajit || echo lua$$lua ) spec/support/abi.lua || bad=1; done; exit $$bad

# Bytes of what is shipped, stripped, and the time of require.
size: all $(if $(LUA_ARCHIVE),$(O)/examples/host/single)
	@sh spec/support/size.sh $(O) $(LUA_BIN)

doc: $(O)/moonlet
	@sh spec/support/setup.sh doc
	@rm -rf $(O)/gen/doc && mkdir -p $(O)/gen/doc
	@$(O)/moonlet spec/support/ops_doc.lua > $(O)/gen/doc/moonlet.ops.lua
	@find lua/moonlet -name '*.lua' | $(O)/moonlet spec/support/doc.lua $(O)/gen/doc
	@ls lua/bind/*.c | $(O)/moonlet spec/support/methods_doc.lua $(O)/gen/doc
	ldoc -q --fatalwarnings -c spec/support/config.ld -d $(O)/doc $(O)/gen/doc

# Where things go; LUA_DIR is where that Lua looks for modules written in C.
INCLUDE_DIR := $(DESTDIR)$(PREFIX)/include
LIB_DIR     := $(DESTDIR)$(PREFIX)/lib
LUA_DIR     := $(LIB_DIR)/lua/$(if $(filter luajit,$(LUA)),5.1,$(LUA))
BIN_DIR     := $(DESTDIR)$(PREFIX)/bin

install: all
	install -d $(INCLUDE_DIR) $(LIB_DIR)/pkgconfig $(LUA_DIR) $(BIN_DIR)
	install -m 644 core/moonlet.h $(INCLUDE_DIR)/moonlet.h
	install -m 755 $(O)/libmoonlet.so $(LIB_DIR)/libmoonlet.so
	install -m 644 $(O)/libmoonlet.a $(LIB_DIR)/libmoonlet.a
	install -m 755 $(O)/moonlet.so $(LUA_DIR)/moonlet.so
	$(if $(PROGRAM),install -m 755 $(PROGRAM) $(BIN_DIR)/moonlet)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' core/moonlet.pc.in > $(LIB_DIR)/pkgconfig/moonlet.pc

uninstall:
	rm -f $(INCLUDE_DIR)/moonlet.h $(LIB_DIR)/libmoonlet.so $(LIB_DIR)/libmoonlet.a $(LIB_DIR)/pkgconfig/moonlet.pc
	rm -f $(LUA_DIR)/moonlet.so $(BIN_DIR)/moonlet

clean:
	rm -rf $(O) $(O)-asan $(O)-tsan

help:
	@echo "make            build/libmoonlet.so and .a, build/moonlet.so (Lua module), build/moonlet (program)"
	@echo "make demo       sets up, builds and trains the digit classifier"
	@echo "make test       sets up, builds and runs all specs; SPEC=ops/matmul for one"
	@echo "make soak       the same with every long loop in its long form"
	@echo "make lint       includes between rooms, calls that belong elsewhere, luacheck"
	@echo "make asan tsan  specs under AddressSanitizer + UBSan, ThreadSanitizer;  make oom: every allocation fails once"
	@echo "make abi        one Lua-side suite on Lua 5.1, LuaJIT, 5.2, 5.3, 5.4"
	@echo "make bench      figures of this machine; ONLY=gpt_train, ONLY=kernels, ONLY=conv for some; PEERS=1 beside other frameworks;"
	@echo "                DEVICE=opencl on that device"
	@echo "make size       bytes that are shipped (limits: 1,000,000 the CPU library, 1,300,000 the one-file host), time of require"
	@echo "make tune       rows for the table of tuned kernels (ONLY=gpt_train for one workload)"
	@echo "make doc        reference to build/doc"
	@echo "make install    PREFIX=/usr/local, DESTDIR;  make uninstall, make format, make clean"
	@echo "OPENCL= (empty) leaves the OpenCL backend out; make size OPENCL= O=build/cpu shows what the CPU part alone takes"
	@echo "Variables: LUA=5.4|5.3|5.2|5.1|luajit  O=build  CC  OPT  CFLAGS  LDFLAGS  JOBS  HOSTCC (CC builds for another machine)"

# What `luarocks make` calls: the Lua module alone, for the Lua whose headers LuaRocks names.
.PHONY: rock rock-install
rock: $(O)/moonlet.so
rock-install:
	install -d $(LIBDIR)
	install -m 755 $(O)/moonlet.so $(LIBDIR)/moonlet.so
