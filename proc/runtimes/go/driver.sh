#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# driver.sh DIR: builds DIR/main.go and becomes the program, so that its exit status and signals are its own
# ("go run" turns them all into 1). A build error ends with status 1 and the compiler's message.
#
# The build runs in the user's working directory: with a go.mod there, its modules can be imported.

dir=$1
user_path=$PATH
PATH=${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin:/usr/local/go/bin
export PATH

if ! command -v go >/dev/null 2>&1; then
        echo "go: the Go toolchain is not installed" >&2
        exit 127
fi

# The compiler needs a cache. It belongs to the user; without a home directory it goes to where the user's id says,
# unless somebody else was there before.
if [ ! -d "$HOME" ]; then
        home=${TMPDIR:-/tmp}/go-$(id -u)
        mkdir -m 0700 "$home" 2>/dev/null
        [ -O "$home" ] || home=$dir
        GOCACHE=${GOCACHE:-${XDG_CACHE_HOME:-$home}/go-build}
        GOPATH=${GOPATH:-$home/path}
        export GOCACHE GOPATH
fi

# Never download another toolchain because a go.mod asks for it, unless the user said so.
#
# "go run" keeps linked programs in the build cache, "go build" does not, so it only pretends to run: cp is its
# -exec program. Without -trimpath nothing would come from the cache, as each execution has a directory of its own.
GOTOOLCHAIN=${GOTOOLCHAIN:-local} go run -trimpath -ldflags=-s -exec 'cp -f' "$dir/main.go" "$dir/program" \
        >"$dir/build.log" 2>&1
status=$?
if [ $status -ne 0 ]; then
        # main.go:3:5: … instead of the way to a directory that nobody knows
        sed -e '/^# command-line-arguments$/d' -e "s|[^[:space:]]*${dir##*/}/||g" -e 's|^\./main\.go:|main.go:|' \
                "$dir/build.log" >&2
        exit 1
fi
PATH=$user_path
exec "$dir/program"
