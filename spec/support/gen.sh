#!/bin/sh
# Derives the op table and the kernel table from where they are declared: gen.sh BUILD_DIR, run at the top of the checkout.
set -eu
out=$1/gen
mkdir -p "$out"
put() { if cmp -s "$out/$1.new" "$out/$1"; then rm "$out/$1.new"; else mv "$out/$1.new" "$out/$1"; fi; }
{
  sed -nE 's/^(UNARY|BINARY|TERNARY)\( *([a-z0-9_]+) *,.*/MOON_OP_ROW(\2)/p' core/ops/elementwise.def
  cat core/ops/*.c | sed -nE 's/^MOON_OP\(([a-z0-9_]+)\).*/MOON_OP_ROW(\1)/p'
} > "$out/ops.def.new"
put ops.def
cat backends/cpu/*.c 2>/dev/null | sed -nE 's/^MOON_CPU_KERNEL\(([a-z0-9_]+)\).*/MOON_CPU_ROW(\1)/p' > "$out/cpu_kernels.def.new"
put cpu_kernels.def
