#!/usr/bin/env bash
# A release build that the compiler has shaped after what keygate does all day (profile-guided optimisation).
#
#   bash deploy/pgo.sh            # makes target/pgo/keygate, some 12 minutes on two cores
#
# Four steps: build keygate so that it counts what it does; let it serve the scenarios of the side-by-side bench; hand the
# counts to the compiler, and build again; count instructions for each request of the usual release build and of this one.
#
# Takes, besides the Rust toolchain, an llvm-profdata that can read the counts:
#   rustup component add llvm-tools      # the one that belongs to the compiler; the best choice
#   apt-get install llvm-19              # also works with rustc 1.95; versions before 19 do not
# The last step needs valgrind and says so if it is not there.
set -euo pipefail
cd "$(dirname "$0")/.."

host="$(rustc -vV | sed -n 's/^host: //p')"
work="$PWD/target/pgo"
counts="$work/counts"
profile="$work/merged.profdata"
training=a,c,d,e,f,fh,g

step() { printf '\n== %s (%ss so far)\n' "$*" "$SECONDS"; }

# Programs that can merge counts, the compiler's own first, then others from the newest on.
profdata_programs() {
    ls "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" 2>/dev/null || true
    local folder
    for folder in ${PATH//:/ }; do
        ls "$folder"/llvm-profdata-[0-9]* 2>/dev/null || true
    done | sort -Vr
    command -v llvm-profdata || true
}

# The first one that can read them does it.
merge() {
    local program
    while read -r program; do
        if "$program" merge --output="$profile" "$counts" 2>"$work/merge.log"; then
            echo "merged by $program"
            return 0
        fi
        echo "$program cannot read the counts: $(head -n 1 "$work/merge.log")"
    done < <(profdata_programs)
    echo "deploy/pgo.sh: no llvm-profdata here reads what $(rustc --version) counts." >&2
    echo "Its LLVM is $(rustc -vV | sed -n 's/^LLVM version: //p'). Install one of these, and run again:" >&2
    echo "  rustup component add llvm-tools" >&2
    echo "  apt-get install llvm-19" >&2
    return 1
}

# A build with flags for keygate and all it is made of, but not for the programs that only build it.
build() {
    RUSTFLAGS="${RUSTFLAGS:-} $1" cargo build --locked --release --bin keygate --target "$host" --target-dir "$work/$2"
}

bench() {
    cargo bench --locked --bench side_by_side -- --peers none "$@"
}

# Asked for now, so that nobody waits a quarter of an hour to hear that it is missing.
if [ -z "$(profdata_programs)" ]; then
    merge
fi

step "the usual release build, and the bench"
cargo build --locked --release --bin keygate
cargo bench --locked --no-run --bench side_by_side

step "a build that counts"
rm -rf "$counts"
mkdir -p "$counts"
build "-Cprofile-generate=$counts" counting

step "serving, to be counted: $training"
bench --keygate "counting=$work/counting/$host/release/keygate" --scenarios "$training" --rounds 1 --measure cpu
merge

# Not with `lto = "fat"`: rustc 1.95 makes nothing of the counts then.
step "the build that knows"
build "-Cprofile-use=$profile -Cllvm-args=-pgo-warn-missing-function=false" knowing
cp "$work/knowing/$host/release/keygate" "$work/keygate"

step "what it is good for"
if command -v valgrind >/dev/null; then
    bench --keygate "pgo=$work/keygate" --keygate "release=target/release/keygate" \
        --scenarios a,c,d,e,f,g --measure instructions
else
    echo "not counted: there is no valgrind here"
fi

step "made target/pgo/keygate"
