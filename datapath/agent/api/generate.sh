#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Make the Go of agent.proto. protoc is Debian 12's, its plugins are those of go.mod.
set -eu
plugins=$(mktemp -d)
trap 'rm -rf "$plugins"' EXIT
for plugin in protoc-gen-go protoc-gen-go-grpc; do
	printf '#!/bin/sh\nexec go tool %s\n' "$plugin" >"$plugins/$plugin"
	chmod +x "$plugins/$plugin"
done
PATH=$plugins:$PATH protoc --go_out=. --go_opt=paths=source_relative \
	--go-grpc_out=. --go-grpc_opt=paths=source_relative agent.proto
