#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
set -eu
cd "$(dirname "$0")/.."
version=v2.15.0
linter=${FOUNDRY_CACHE:-$HOME/.cache/foundry}/tools/golangci-lint-${version#v}/golangci-lint
if [ ! -x "$linter" ]; then
	echo "lint: build golangci-lint $version (a few minutes, once)"
	GOFLAGS= GOBIN=$(dirname "$linter") go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version"
fi
bad=$(gofmt -l $(git ls-files '*.go'))
[ -z "$bad" ] || { printf 'not gofmt-ed:\n%s\n' "$bad" >&2; exit 1; }
go vet ./...
"$linter" run ./...
