#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# driver.sh DIR [FILE]: builds DIR/main.go and becomes the program, so that its exit status and signals are its own
# ("go run" turns them all into 1). A build error ends with status 1 and the compiler's message.
#
# The build runs in the user's working directory: with a go.mod there, its modules can be imported.
#
# FILE is where to keep the program. Its name stands for source, toolchain and settings (proc/go_key.c), and the next
# time the agent starts it without asking us. It is only kept if that can be: see is_closed.

dir=$1
kept=$2

# All is done in subshells: the program gets to see the same variables, built or not.

# Sets PATH and what else the compiler needs.
prepare() {
        PATH=${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin:/usr/local/go/bin
        export PATH
        # The compiler needs a cache. It belongs to the user; without a home directory it goes to where the user's id
        # says, unless somebody else was there before.
        if [ ! -d "$HOME" ]; then
                home=${TMPDIR:-/tmp}/go-$(id -u)
                mkdir -m 0700 "$home" 2>/dev/null
                [ -O "$home" ] || home=$dir
                GOCACHE=${GOCACHE:-${XDG_CACHE_HOME:-$home}/go-build}
                GOPATH=${GOPATH:-$home/path}
                export GOCACHE GOPATH
        fi
        # Never download another toolchain because a go.mod asks for it, unless the user said so.
        GOTOOLCHAIN=${GOTOOLCHAIN:-local}
        export GOTOOLCHAIN
}

# "go run" keeps linked programs in the build cache, "go build" does not, so it only pretends to run: cp is its
# -exec program. Without -trimpath nothing would come from the cache, as each execution has a directory of its own.
build() {
        if ! command -v go >/dev/null 2>&1; then
                echo "go: the Go toolchain is not installed" >&2
                return 127
        fi
        go run -trimpath -ldflags=-s -exec 'cp -f' "$dir/main.go" "$dir/program" >"$dir/build.log" 2>&1 && return
        # main.go:3:5: … instead of the way to a directory that nobody knows
        sed -e '/^# command-line-arguments$/d' -e "s|[^[:space:]]*${dir##*/}/||g" -e 's|^\./main\.go:|main.go:|' \
                "$dir/build.log" >&2
        return 1
}

# What "go env -w" may have set, and the name of FILE does not tell: packages that may change without a module. And the
# program must be one for this machine, because nobody is there to say that it is not.
is_closed() {
        go env GO111MODULE GOMOD GOWORK GOFLAGS GOOS GOARCH GOHOSTOS GOHOSTARCH >"$dir/env" || return
        {
                read -r modules; read -r module; read -r workspace; read -r flags
                read -r system; read -r machine; read -r own_system; read -r own_machine
        } <"$dir/env"
        case $modules in '' | on) ;; *) return 1 ;; esac
        case $module in '' | /dev/null) ;; *) return 1 ;; esac
        case $workspace in '' | off) ;; *) return 1 ;; esac
        case $flags in *overlay* | *modfile* | *mod=*) return 1 ;; esac
        [ "$system $machine" = "$own_system $own_machine" ]
}

# Nobody sees a program before it is complete, also on the disk. The time stamp says that it is.
keep() {
        cache=${kept%/*}
        new=$cache/${dir##*/}.new
        mkdir -p -m 0700 "$cache" && [ -O "$cache" ] || return
        if cp -f "$dir/program" "$new" && chmod 0700 "$new" && [ -x "$new" ] && sync "$new" &&
                TZ=UTC0 touch -m -t 200001010000 "$new" && mv -f "$new" "$kept"; then
                prune
        else
                rm -f "$new"
        fi
}

# At most 64 programs, and 512 MiB; the least recently used ones go, and what others left unfinished.
prune() {
        cd "$cache" || return
        find . -name '*.new' -mmin +60 -exec rm -f {} +
        du -k $(ls -tu | grep -v '\.new$' | head -n 1000) | {
                n=0 total=0
                while read -r size program; do
                        n=$((n + 1)) total=$((total + size))
                        [ $n -le 64 ] && [ $total -le 524288 ] || rm -f "$program"
                done
        }
}

(prepare && build) || exit
[ -z "$kept" ] || (prepare && is_closed && keep) >/dev/null 2>&1
exec "$dir/program"
