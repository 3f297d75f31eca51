# Moonlet. `make help` lists the targets. Everything that is built goes to $(O).
O       ?= build
LUA     ?= 5.4
CC      ?= cc
AR      ?= ar
OBJCOPY ?= objcopy
PREFIX  ?= /usr/local
VERSION := 0.1.0

# LuaRocks names the folder of the headers instead of the version.
ifdef LUA_INCDIR
LUA := $(shell sed -nE 's/^.define[ \t]+LUA_VERSION_NUM[ \t]+5.(.).*/5.\1/p' $(LUA_INCDIR)/lua.h)
endif
ifeq ($(LUA),luajit)
LUA_PC := luajit
else
LUA_PC := lua$(LUA)
endif
LUA_CFLAGS := $(shell pkg-config --cflags $(LUA_PC) 2>/dev/null || pkg-config --cflags lua-$(LUA) 2>/dev/null)
LUA_LIBS   := $(shell pkg-config --libs $(LUA_PC) 2>/dev/null || pkg-config --libs lua-$(LUA) 2>/dev/null)
ifdef LUA_INCDIR
LUA_CFLAGS := -I$(LUA_INCDIR)
endif
LUA_BIN    := $(if $(filter luajit,$(LUA)),luajit,lua$(LUA))
EDIT       := $(shell pkg-config --exists libedit 2>/dev/null && echo yes)

WARN   := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes $(if $(CI),-Werror)
OPT    ?= -O2 -DNDEBUG
CFLAGS ?=
ALL_CFLAGS = -std=gnu11 $(OPT) $(WARN) -fPIC -fvisibility=hidden -fno-math-errno -pthread -Icore -I$(O) -Ibackends/cpu $(if $(OPENCL),-DMOON_HAVE_OPENCL) $(CFLAGS)
# Nothing is thrown through core or backends, so they carry no unwind tables. LuaJIT's errors pass through lua/bind as exceptions do;
# those of the other Luas are jumps.
CORE_CFLAGS := -fno-asynchronous-unwind-tables -fno-unwind-tables -ffunction-sections
BIND_CFLAGS := $(if $(filter luajit,$(LUA)),-ffunction-sections,$(CORE_CFLAGS))
# Rooms where nothing waits for code to be fast: an optimised build makes them small.
HOT       := core/executor% core/control% core/base/pool% core/base/worker% core/base/alloc% core/base/map% core/graph/graph% core/graph/rewrite% core/plan/memory% \
             $(foreach f,args collect object op operand program tensor tensor_index tensor_table variable,lua/bind/$(f).c)
COLD      := $(filter-out $(HOT),$(wildcard core/*.c core/*/*.c lua/*.c lua/bind/*.c) $(foreach f,loop elementwise random fast device tuned openblas gemm_tuning conv_chain conv_packed conv_plan recurrent rows_fast batch update,backends/cpu/$(f).c))
COLD_FLAG  = $(if $(filter -O2 -O3,$(OPT)),$(if $(filter $(COLD),$<),-Os))
LIBS   := -lm -ldl -pthread
# Code need not begin on a page of its own: 5 KB. Addresses in tables are relocated by a bit each where the C library can read that
# (glibc from 2.36 on): 70 KB.
PACK   := -Wl,--gc-sections -Wl,-z,noseparate-code \
          $(shell grep -qs GLIBC_ABI_DT_RELR "`$(CC) -print-file-name=libc.so.6`" && echo -Wl,-z,pack-relative-relocs)
ALL_LDFLAGS = -Wl,-z,nodelete $(PACK) $(LDFLAGS)

# Kernels compiled once per instruction set; other machines than x86-64 have the baseline only.
# Where it is only what old machines fall back to, the baseline is kept small.
ISA_baseline := $(if $(filter x86_64%,$(shell $(CC) -dumpmachine)),-Os,-O3) -fno-trapping-math
# The loops that the compiler makes vectors of, which it does not when it saves space.
LOOPS_baseline := -O2 -ftree-vectorize
# What -O3 adds to these, 15 KB, makes them no faster: their loops are unrolled as they are written.
WRITTEN_OUT  := $(foreach f,attention gemm gemm_f64 peak random tile update winograd,backends/cpu/$(f)_isa.c)
ISA_O         = $(if $(filter $(WRITTEN_OUT),$<),-O2 -ftree-vectorize,-O3)
ISA_avx2      = $(ISA_O) -fno-trapping-math -mavx2 -mfma -mf16c
ISA_avx512    = $(ISA_O) -fno-trapping-math -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512
ISAS         := baseline $(if $(filter x86_64%,$(shell $(CC) -dumpmachine)),avx2 avx512)

# The OpenCL backend; `make OPENCL=` leaves it out. It needs no header and no library to build.
OPENCL   ?= yes
CORE_SRC := $(wildcard core/*.c core/*/*.c backends/*.c backends/cpu/*.c $(if $(OPENCL),backends/opencl/*.c))
ISA_SRC  := $(filter %_isa.c,$(CORE_SRC))
CORE_OBJ := $(patsubst %.c,$(O)/obj/%.o,$(filter-out $(ISA_SRC),$(CORE_SRC))) \
            $(foreach i,$(ISAS),$(patsubst %.c,$(O)/obj/%.$(i).o,$(ISA_SRC)))
BIND_SRC := $(wildcard lua/bind/*.c)
# What is compiled against one Lua has a folder of its own, so that builds for several share everything else.
FOR_LUA  := $(O)/lua-$(LUA)
BIND_OBJ := $(patsubst %.c,$(FOR_LUA)/obj/%.o,$(BIND_SRC)) $(O)/obj/embed.o
# The program has Lua 5.4 inside; other Luas get the module.
PROGRAM  := $(if $(filter 5.4,$(LUA)),$(O)/moonlet)
LUA_SRC  := $(shell find lua/moonlet -name '*.lua')
GEN      := $(O)/gen/ops.def $(O)/gen/cpu_kernels.def

# One short line a step; make V=1 shows the commands.
Q    := $(if $(V),,@)
SAY   = $(if $(V),@:,@printf '  %-4s %s\n')

.PHONY: all
all: $(O)/libmoonlet.so $(O)/libmoonlet.a $(FOR_LUA)/libmoonlet-lua.a $(O)/moonlet.so $(PROGRAM)

include spec/support/rules.mk

# Objects are made again when the compiler or its flags change, the Lua files inside the library when other parts are left out
# (LUA_WITHOUT="rl testing plot"): these files change when what they say does.
$(O)/gen/flags: SAYS = $(filter-out -Werror,$(CC) $(ALL_CFLAGS) $(CORE_CFLAGS) $(foreach i,$(ISAS),$(ISA_$(i))) $(ALL_LDFLAGS) $(if $(EDIT),-ledit))
$(O)/gen/parts: SAYS = $(LUA_WITHOUT)
$(O)/gen/flags $(O)/gen/parts: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(SAYS))' > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# The tables are derived whenever a file that declares ops or kernels changed.
$(O)/gen/stamp: core/ops/elementwise.def $(wildcard core/ops/*.c backends/cpu/*.c) spec/support/gen.sh
	@sh spec/support/gen.sh $(O) && touch $@
$(GEN): $(O)/gen/stamp ;

# The Lua files inside the library are packed by a program that runs here, also when CC builds for another machine.
HOSTCC   ?= $(CC)
EMBEDDED  = $(filter-out $(foreach p,$(LUA_WITHOUT),lua/moonlet/$(p).lua lua/moonlet/$(p)/%),$(sort $(LUA_SRC)))
$(O)/gen/embed: spec/support/embed.c lua/bind/embed.h
	@mkdir -p $(@D)
	$(SAY) CC $@
	$(Q)$(HOSTCC) -std=c99 -O1 $(WARN) -Ilua/bind -o $@ $<

$(O)/gen/embed.c: $(LUA_SRC) $(O)/gen/embed $(O)/gen/parts
	$(SAY) GEN $@
	$(Q)$(O)/gen/embed $(EMBEDDED) > $@.new && mv $@.new $@

$(O)/obj/embed.o: $(O)/gen/embed.c $(O)/gen/flags
	@mkdir -p $(@D)
	$(SAY) CC $@
	$(Q)$(CC) $(ALL_CFLAGS) -Ilua/bind -c $< -o $@

define isa_rule
$(O)/obj/%.$(1).o: %.c $(O)/gen/stamp $(O)/gen/flags
	@mkdir -p $$(@D)
	$$(SAY) CC $$@
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$(CORE_CFLAGS) $$(ISA_$(1)) $$(if $$(filter %/tile_isa.c,$$<),$$(LOOPS_$(1))) -DMOON_ISA=$(1) -MMD -c $$< -o $$@
endef
$(foreach i,$(ISAS),$(eval $(call isa_rule,$(i))))

$(FOR_LUA)/obj/%.o: %.c $(O)/gen/stamp $(O)/gen/flags
	@mkdir -p $(@D)
	$(SAY) CC $@
	$(Q)$(CC) $(ALL_CFLAGS) $(BIND_CFLAGS) $(COLD_FLAG) -Ilua/bind $(LUA_CFLAGS) $(if $(EDIT),-DMOON_HAVE_EDIT) -MMD -c $< -o $@

$(O)/obj/%.o: %.c $(O)/gen/stamp $(O)/gen/flags
	@mkdir -p $(@D)
	$(SAY) CC $@
	$(Q)$(CC) $(ALL_CFLAGS) $(CORE_CFLAGS) $(COLD_FLAG) -MMD -c $< -o $@

$(O)/libmoonlet.a: $(CORE_OBJ)
	@rm -f $@
	$(SAY) AR $@
	$(Q)$(AR) rcs $@ $^

$(O)/libmoonlet.so: $(CORE_OBJ)
	$(SAY) LD $@
	$(Q)$(CC) $(CFLAGS) -shared $(ALL_LDFLAGS) -Wl,-soname,libmoonlet.so -o $@ $^ $(LIBS)

# Lua's functions are weak in the module, so that another Lua can load it far enough to be told so.
$(FOR_LUA)/moonlet.so: $(CORE_OBJ) $(BIND_OBJ)
	$(SAY) LD $@
	$(Q)$(CC) $(filter-out -fsanitize%,$(CFLAGS)) -r -nostdlib -o $(FOR_LUA)/obj/bind.o $(BIND_OBJ)
	$(Q)$(OBJCOPY) -w --weaken-symbol='lua_*' --weaken-symbol='luaL_*' $(FOR_LUA)/obj/bind.o
	$(Q)$(CC) $(CFLAGS) -shared $(ALL_LDFLAGS) -o $@ $(CORE_OBJ) $(FOR_LUA)/obj/bind.o $(LIBS)

# The module of the Lua that was asked for last.
$(O)/moonlet.so: $(FOR_LUA)/moonlet.so FORCE
	@cmp -s $< $@ || { cp $< $@.new && mv $@.new $@; }
FORCE:

# The binding for programs that link Lua and the library into one file; after it come libmoonlet.a and Lua's archive.
$(FOR_LUA)/libmoonlet-lua.a: $(BIND_OBJ)
	@rm -f $@
	$(SAY) AR $@
	$(Q)$(AR) rcs $@ $^

$(O)/moonlet: $(FOR_LUA)/obj/lua/main.o $(CORE_OBJ) $(BIND_OBJ)
	$(SAY) LD $@
	$(Q)$(CC) $(CFLAGS) -Wl,-E $(PACK) $(LDFLAGS) -o $@ $^ $(LUA_LIBS) $(if $(EDIT),-ledit) $(LIBS)

-include $(shell find $(O)/obj $(FOR_LUA)/obj -name '*.d' 2>/dev/null)
