// SPDX-License-Identifier: Apache-2.0

package main

import "syscall"

// readAll reads a descriptor to its end, at most limit bytes.
func readAll(fd, limit int) ([]byte, error) {
	buf := make([]byte, 0, 1024)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := syscall.Read(fd, buf[len(buf):cap(buf)])
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return buf, nil
		}
		if buf = buf[:len(buf)+n]; len(buf) > limit {
			return nil, syscall.EFBIG
		}
	}
}

func readFile(path string) ([]byte, error) {
	fd, err := open(path, syscall.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	b, err := readAll(fd, 4<<20)
	if err != nil {
		return nil, failed("read", path, err)
	}
	return b, nil
}

// writeFile replaces a file's content. It follows no symbolic link.
func writeFile(path, text string) error {
	fd, err := open(path, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if err := writeAll(fd, []byte(text)); err != nil {
		return failed("write", path, err)
	}
	return nil
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := syscall.Write(fd, b)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func open(path string, flags int, perm uint32) (int, error) {
	for {
		fd, err := syscall.Open(path, flags|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, perm)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return -1, failed("open", path, err)
		}
		return fd, nil
	}
}

// makeDirs makes a directory and what is missing above it, for our user alone.
func makeDirs(path string) error {
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		if err := syscall.Mkdir(path[:i], 0o700); err != nil && err != syscall.EEXIST {
			return failed("make directory", path[:i], err)
		}
	}
	return nil
}

func readlink(path string) (string, error) {
	buf := make([]byte, 4096)
	n, err := syscall.Readlink(path, buf)
	if err != nil {
		return "", failed("read link", path, err)
	}
	return string(buf[:n]), nil
}

func exists(path string) bool {
	var st syscall.Stat_t
	return syscall.Stat(path, &st) == nil
}

func getenv(name string) string {
	v, _ := syscall.Getenv(name)
	return v
}

// number writes v in decimal.
func number(v uint64) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + v%10)
		if v /= 10; v == 0 {
			return string(b[i:])
		}
	}
}

// parseNumber reads a decimal number, as proc prints one.
func parseNumber(b []byte) (v int, ok bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	for len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	if len(b) == 0 || len(b) > 9 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int(c-'0')
	}
	if negative {
		v = -v
	}
	return v, true
}
