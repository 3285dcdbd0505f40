// SPDX-License-Identifier: Apache-2.0

// Package env gives a test a real containerd of its own, and takes it away
// again: daemon, images, servers, containers, mounts, cgroups. It is imported
// by tests only.
//
//	func TestTrue(t *testing.T) {
//		env.RequireRoot(t)
//		d := env.Containerd(t, env.Config{})
//		c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/true"}})
//		if got := d.Run(t, c).ExitCode(); got != 0 {
//			t.Errorf("exit code: got %d, want 0", got)
//		}
//	}
//
// Every daemon has its own root, state, sockets, socket_dir, containerd
// namespace and FOUNDRY_ROOT below one temporary directory, so daemons of
// parallel tests, and others on the host, never meet. When the test is over the
// daemon is stopped, and what it leaves behind fails the test: processes,
// mounts, cgroups, journals. All of it is found by the temporary directory's
// name or the namespace, never by a program's name, so nothing of anybody else
// is touched.
//
// FOUNDRY_TEST_RUNTIME names another runtime to hold the same stories against,
// e.g. io.containerd.runc.v2. FOUNDRY_BIN names a directory with built binaries
// where there is no Go, as in a guest; FOUNDRY_CACHE where `make setup` put the
// tools.
package env
