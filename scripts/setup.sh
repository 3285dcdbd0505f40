#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Install what the build and the tests need and the machine lacks. Run again, it does nothing.
set -eu
cache=${FOUNDRY_CACHE:-$HOME/.cache/foundry}
containerd=v2.4.2

# asleep SERVICE...: what is about to be installed is for tests, which start it themselves. The host must not: neither
# now, nor when it boots. Only where nobody has installed it before; `systemctl unmask` takes it back.
asleep() {
	local service
	if [ -d /etc/systemd/system ]; then
		for service; do [ -e "/etc/systemd/system/$service.service" ] || ln -s /dev/null "/etc/systemd/system/$service.service"; done
	fi
	[ -e /usr/sbin/policy-rc.d ] && return
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod +x /usr/sbin/policy-rc.d
	trap 'rm -f /usr/sbin/policy-rc.d; ! command -v update-rc.d >/dev/null || update-rc.d openvswitch-switch disable' EXIT
}

# command -> Debian package that has it
need=
while read -r command package; do
	command -v "$command" >/dev/null || [ -x "/usr/sbin/$command" ] || need="$need $package"
done <<-LIST
	busybox busybox-static
	clang-14 clang-14
	criu criu
	gcc gcc
	git git
	ip iproute2
	iptables iptables
	llvm-strip-14 llvm-14
	mkfs.erofs erofs-utils
	mkfs.ext4 e2fsprogs
	musl-gcc musl-tools
	ovs-vswitchd openvswitch-switch
	protoc protobuf-compiler
	runc runc
	/usr/lib/cni/bridge containernetworking-plugins
LIST
[ -e /usr/include/bpf/bpf_helpers.h ] || need="$need libbpf-dev"
# A dynamic busybox would not run in a container.
if command -v busybox >/dev/null && ldd "$(command -v busybox)" >/dev/null 2>&1; then need="$need busybox-static"; fi
if [ -n "$need" ]; then
	[ "$(id -u)" = 0 ] || { echo "setup: install$need, or run this as root" >&2; exit 1; }
	echo "setup: apt-get install$need"
	export DEBIAN_FRONTEND=noninteractive
	case $need in *openvswitch*) asleep openvswitch-switch ovsdb-server ovs-vswitchd ;; esac
	apt-get -o DPkg::Lock::Timeout=600 update -qq
	# shellcheck disable=SC2086 # a list of words
	apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends $need >/dev/null
fi

tools=$cache/tools/containerd-${containerd#v}
for program in containerd ctr containerd-shim-runc-v2; do
	[ -x "$tools/$program" ] && continue
	echo "setup: build $program $containerd (a few minutes, once)"
	GOFLAGS= GOBIN=$tools CGO_ENABLED=0 go install "github.com/containerd/containerd/v2/cmd/$program@$containerd"
done

# The oldest containerd that is supported. It cannot be installed by name: its module replaces others.
old=$cache/tools/containerd-1.7.35
if [ ! -x "$old/containerd" ]; then
	echo "setup: build containerd v1.7.35 (a few minutes, once)"
	mkdir -p "$old"
	work=$(mktemp -d)
	printf 'module old\n\ngo 1.26.0\n' >"$work/go.mod"
	printf 'package old\n\nimport _ "github.com/containerd/containerd/cmd/containerd"\n' >"$work/old.go"
	(
		cd "$work"
		export GOFLAGS=-mod=mod CGO_ENABLED=0
		go get github.com/containerd/containerd@v1.7.35
		go build -trimpath -o "$old/containerd" github.com/containerd/containerd/cmd/containerd
	)
	rm -rf "$work"
fi
