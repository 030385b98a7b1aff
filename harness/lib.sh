# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Sourced by the harness scripts: places, messages, long steps, kernel trees, apt.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=base.mk
. "$root/base.mk"
cache=${XDG_CACHE_HOME:-${HOME:?is not set: set it, or XDG_CACHE_HOME}/.cache}/huge-pfnmap
build=$root/build
base=$cache/base/$BASE_VERSION

advice="check the network"	# when a download fails

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# need_mib DIR MIB WHAT: room for WHAT in DIR, or a clear refusal
need_mib()
{
	local free

	mkdir -p "$1" || die "cannot create $1: check its permissions"
	free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$2" ] ||
		die "$3 needs $2 MiB in $1, $free MiB are free: make room"
}

# step LOG WHAT COMMAND...: run with output to LOG; progress on the terminal
# (a line a minute where there is none), the end of LOG when it fails
step()
{
	local log=$1 what=$2 start=$SECONDS pid rc=0 tick=60
	shift 2

	mkdir -p "${log%/*}"
	[ -t 2 ] && tick=1
	printf '%s (log: %s)\n' "$what" "${log#"$root"/}" >&2
	set -m	# a process group of its own, to be stopped as a whole
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	set +m
	# shellcheck disable=SC2064 # this pid
	trap "kill -- -$pid 2>/dev/null; exit 130" INT TERM HUP
	while kill -0 "$pid" 2>/dev/null; do
		if [ $(((SECONDS - start) % tick)) -eq 0 ] && [ "$SECONDS" -gt "$start" ]; then
			if [ -t 2 ]; then
				printf '\r  %4d s  %-66.66s' $((SECONDS - start)) \
					"$(tail -n 1 "$log" | tr -cd '[:print:]')" >&2
			else
				printf '  %4d s, %d lines\n' $((SECONDS - start)) \
					"$(wc -l <"$log")" >&2
			fi
		fi
		sleep 1
	done
	wait "$pid" || rc=$?
	trap - INT TERM HUP
	[ -t 2 ] && printf '\r%78s\r' '' >&2
	if [ "$rc" -ne 0 ]; then
		tail -n 20 "$log" >&2
		die "$what failed (status $rc): see ${log#"$root"/}"
	fi
	printf '  done in %d s\n' $((SECONDS - start)) >&2
}

# base_id: what the base is, for the keys of what is built from it
base_id()
{
	cat "$root/base.mk"
	[ -z "${KERNEL_TARBALL:-}" ] || sha256sum <"$KERNEL_TARBALL" |
		grep -v "^$BASE_TAR_SHA256" || :
}

# kmake ARGUMENT...: make in the kernel tree $tree, with ccache and without
# what differs from build to build
kmake()
{
	CCACHE_DIR=$cache/ccache CCACHE_MAXSIZE=8G CCACHE_NOHASHDIR=1 CCACHE_DEPEND=1 \
		KBUILD_BUILD_TIMESTAMP=2026-01-01 KBUILD_BUILD_USER=build \
		KBUILD_BUILD_HOST=build KBUILD_BUILD_VERSION=1 \
		make -C "${tree:?}" -j"$(nproc)" CC="ccache gcc" HOSTCC="ccache gcc" "$@"
}

# series_tree TREE [--upto N]: a fresh tree of the base with the series, or the
# first N patches of it, by hard links
series_tree()
{
	local base

	base=$("$root/harness/base")
	rm -rf "$1"
	mkdir -p "${1%/*}"
	cp -al "$base" "$1" 2>/dev/null || { rm -rf "$1"; cp -a "$base" "$1"; }
	"$root/harness/series" apply "$@"
}

# The Debian mirror that the machine itself uses.
debian_mirror()
{
	local mirror

	# shellcheck disable=SC2016 # apt's variables
	mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' |
		awk -F '|' '$1 == "Debian" && $2 == "Debian" { print $3; exit }')
	[ -n "$mirror" ] || die "apt knows no Debian mirror: run apt-get update, $advice"
	echo "$mirror"
}

# private_apt DIR SUITE...: an apt configuration of our own in DIR, so that no
# system file changes.
private_apt()
{
	local dir=$1 mirror suite
	shift

	mirror=$(debian_mirror)
	mkdir -p "$dir/lists/partial" "$dir/archives/partial"
	for suite; do
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
	done >"$dir/sources.list"
	cat >"$dir/apt.conf" <<-END
	Dir::Etc::SourceList "$dir/sources.list";
	Dir::Etc::SourceParts "/dev/null";
	Dir::State::Lists "$dir/lists";
	Dir::Cache "$dir";
	APT::Sandbox::User "root";
	END
	export APT_CONFIG=$dir/apt.conf
	(step "$build/log/apt-lists" "asking the mirror for $*" \
		apt-get update -o APT::Update::Error-Mode=any) ||
		die "the mirror does not give $*: $advice"
}
