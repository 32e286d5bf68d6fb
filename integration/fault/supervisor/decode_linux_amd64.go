package supervisor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// stopped is a thread at the entry of a system call.
type stopped struct {
	tid, pid int
	arg      [6]uint64
}

// read copies at most n bytes of the thread's memory. Memory is read page by
// page, because what follows a string may be unmapped.
func (s *stopped) read(addr uint64, n int) []byte {
	const page = 4096
	var all []byte
	for len(all) < n {
		chunk := min(n-len(all), page-int(addr%page))
		buf := make([]byte, chunk)
		local := []unix.Iovec{{Base: &buf[0], Len: uint64(chunk)}}
		remote := []unix.RemoteIovec{{Base: uintptr(addr), Len: chunk}}
		got, err := unix.ProcessVMReadv(s.tid, local, remote, 0)
		if err != nil || got != chunk {
			return all
		}
		all = append(all, buf...)
		addr += uint64(chunk)
	}
	return all
}

func (s *stopped) word(addr uint64) (uint64, bool) {
	b := s.read(addr, 8)
	if len(b) < 8 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b), true
}

// text reads a string up to its NUL.
func (s *stopped) text(addr uint64) string {
	if addr == 0 {
		return ""
	}
	var all []byte
	for len(all) < unix.PathMax {
		b := s.read(addr+uint64(len(all)), 256)
		if len(b) == 0 {
			break
		}
		if i := bytes.IndexByte(b, 0); i >= 0 {
			return string(append(all, b[:i]...))
		}
		all = append(all, b...)
	}
	return string(all)
}

// link is what a descriptor refers to, as /proc shows it.
func (s *stopped) link(fd uint64) string {
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", s.tid, int32(fd)))
	if err != nil {
		return "?"
	}
	return name
}

func (s *stopped) isFile(fd uint64) bool {
	name := s.link(fd)
	if strings.HasPrefix(name, "anon_inode:") || strings.HasPrefix(name, "/memfd:") {
		return false
	}
	var st unix.Stat_t
	if unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", s.tid, int32(fd)), &st) != nil {
		return false
	}
	return st.Mode&unix.S_IFMT == unix.S_IFREG || st.Mode&unix.S_IFMT == unix.S_IFBLK
}

// isNetlink asks a duplicate of the socket for its domain.
func (s *stopped) isNetlink(fd uint64) bool {
	pidfd, err := unix.PidfdOpen(s.pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(pidfd)
	dup, err := unix.PidfdGetfd(pidfd, int(int32(fd)), 0)
	if err != nil {
		return false
	}
	defer unix.Close(dup)
	domain, err := unix.GetsockoptInt(dup, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err == nil && domain == unix.AF_NETLINK
}

// describe renders the arguments for a person.
func (s *stopped) describe(c call) string {
	var out []string
	for i := 0; i < len(c.args); i++ {
		v := s.arg[i]
		switch c.args[i] {
		case 'd': // shown with the path that follows
			out = append(out, s.at(v, s.text(s.arg[i+1])))
			i++
		case 'f':
			out = append(out, fmt.Sprintf("%d<%s>", int32(v), s.link(v)))
		case 'p', 's':
			out = append(out, fmt.Sprintf("%q", s.text(v)))
		case 'x':
			out = append(out, fmt.Sprintf("%#x", v))
		case 'o':
			out = append(out, fmt.Sprintf("%#o", v))
		case 'i':
			out = append(out, fmt.Sprint(int32(v)))
		case 't':
			out = append(out, fmt.Sprintf("%d:%d", unix.Major(v), unix.Minor(v)))
		case 'b':
			const show = 48
			n := int(s.arg[i+1])
			out = append(out, fmt.Sprintf("%q", s.read(v, min(n, show))))
		}
	}
	return strings.Join(out, ", ")
}

func (s *stopped) at(dirfd uint64, path string) string {
	switch {
	case strings.HasPrefix(path, "/"), int32(dirfd) == unix.AT_FDCWD:
		return fmt.Sprintf("%q", path)
	default:
		return fmt.Sprintf("%d<%s>%q", int32(dirfd), s.link(dirfd), path)
	}
}
