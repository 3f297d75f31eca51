# Targets that are not builds. See `make help`.
SPEC     ?=
BUSTED   := $(LUA_BIN) spec/support/run_busted.lua
SPECFILE  = $(if $(SPEC),$(if $(wildcard spec/$(SPEC)),spec/$(SPEC),spec/$(SPEC)_spec.lua),spec)
QUICK    ?=

.PHONY: setup demo test soak lint format asan tsan oom bench doc install uninstall clean help abi cspec

setup:
	@sh spec/support/setup.sh build

demo:
	@sh spec/support/setup.sh build
	@$(MAKE) --no-print-directory $(O)/moonlet
	$(O)/moonlet examples/digits.lua

test:
	@sh spec/support/setup.sh test
	@$(MAKE) --no-print-directory all cspec
	MOONLET_BUILD=$(O) $(BUSTED) $(SPECFILE)

soak:
	@sh spec/support/setup.sh test
	@$(MAKE) --no-print-directory all cspec
	MOONLET_BUILD=$(O) MOONLET_SOAK=1 $(BUSTED) $(SPECFILE)

# C programs that specs run: examples, and checks that need more than Lua can reach.
CSPEC := $(patsubst %.c,$(O)/%,$(wildcard examples/*.c spec/*/*.c))
cspec: $(CSPEC)
$(O)/examples/%: examples/%.c $(O)/libmoonlet.a
	@mkdir -p $(@D)
	$(CC) -std=c11 $(OPT) $(WARN) -Icore $(CFLAGS) $(LDFLAGS) -o $@ $< $(O)/libmoonlet.a $(LIBS)
$(O)/spec/%: spec/%.c $(O)/libmoonlet.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $< $(O)/libmoonlet.a $(LIBS)

lint:
	@sh spec/support/lint.sh

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

# The same specs inside a program built with a sanitizer. Leaks of the Lua state itself cannot occur: it is closed at exit.
SANITIZED = $(MAKE) --no-print-directory O=$(O)-$(1) OPT="-O1 -g" CFLAGS="-fsanitize=$(2) -fno-omit-frame-pointer" all cspec
asan:
	$(call SANITIZED,asan,address$(comma)undefined -fno-sanitize-recover=undefined)
	MOONLET_BUILD=$(O)-asan MOONLET_SANITIZER=1 $(O)-asan/moonlet spec/support/run_busted.lua $(SPECFILE)
tsan:
	$(call SANITIZED,tsan,thread)
	MOONLET_BUILD=$(O)-tsan MOONLET_SANITIZER=1 MOONLET_THREADS=4 $(O)-tsan/moonlet spec/support/run_busted.lua $(if $(SPEC),$(SPECFILE),spec/backends spec/core spec/lua)
comma := ,

oom:
	@$(MAKE) --no-print-directory all cspec
	MOONLET_BUILD=$(O) MOONLET_SOAK=1 $(BUSTED) spec/core/oom_spec.lua

bench:
	@sh spec/support/setup.sh build
	@$(MAKE) --no-print-directory all
	@env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE MOONLET_BUILD=$(O) $(O)/moonlet spec/bench/run.lua $(ONLY)

# Builds for each Lua and runs the Lua-side specs with it; one line for each.
abi:
	@for lua in 5.1 luajit 5.2 5.3 5.4; do \
	  $(MAKE) --no-print-directory -s LUA=$$lua O=$(O)-abi-$$lua $(O)-abi-$$lua/moonlet.so && \
	  MOONLET_BUILD=$(O)-abi-$$lua $$( [ $$lua = luajit ] && echo luajit || echo lua$$lua ) spec/support/abi.lua || exit 1; done

doc:
	ldoc -q -c spec/support/config.ld -d $(O)/doc lua/moonlet

install: all
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/lua/$(LUA)
	install -m 644 core/moonlet.h $(DESTDIR)$(PREFIX)/include/moonlet.h
	install -m 755 $(O)/libmoonlet.so $(DESTDIR)$(PREFIX)/lib/libmoonlet.so
	install -m 644 $(O)/libmoonlet.a $(DESTDIR)$(PREFIX)/lib/libmoonlet.a
	install -m 755 $(O)/moonlet.so $(DESTDIR)$(PREFIX)/lib/lua/$(LUA)/moonlet.so
	install -m 755 $(O)/moonlet $(DESTDIR)$(PREFIX)/bin/moonlet
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' core/moonlet.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/moonlet.pc

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,include/moonlet.h lib/libmoonlet.so lib/libmoonlet.a lib/lua/$(LUA)/moonlet.so bin/moonlet lib/pkgconfig/moonlet.pc)

clean:
	rm -rf $(O) $(O)-asan $(O)-tsan $(O)-abi-*

help:
	@echo "make            build/libmoonlet.so and .a, build/moonlet.so (Lua module), build/moonlet (program)"
	@echo "make demo       sets up, builds and trains the digit classifier"
	@echo "make test       sets up, builds and runs all specs; SPEC=ops/matmul for one"
	@echo "make soak       the same with every long loop in its long form"
	@echo "make lint       includes between rooms, luacheck, warnings of gcc and clang"
	@echo "make asan tsan  specs under AddressSanitizer + UBSan, ThreadSanitizer;  make oom: every allocation fails once"
	@echo "make abi        Lua-side specs on Lua 5.1, LuaJIT, 5.2, 5.3, 5.4"
	@echo "make bench      figures of this machine;  make doc: reference to build/doc"
	@echo "make install    PREFIX=/usr/local;  make format, make clean"
	@echo "Variables: LUA=5.4|5.3|5.2|5.1|luajit  O=build  CC  OPT  CFLAGS  LDFLAGS"

# What `luarocks make` calls: the Lua module alone, for the Lua whose headers LuaRocks names.
.PHONY: rock rock-install
rock: $(O)/moonlet.so
rock-install:
	install -d $(LIBDIR)
	install -m 755 $(O)/moonlet.so $(LIBDIR)/moonlet.so
