package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// heard is what came in at a listener.
type heard struct {
	mu   sync.Mutex
	text strings.Builder
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// listen starts a listener whose address becomes ${NAME}.
func (s *script) listen(args []string) {
	network, name := args[0], args[1]
	h := new(heard)
	s.heard[name] = h
	address := "127.0.0.1:0"
	if strings.HasPrefix(network, "unix") {
		address = s.abs(name)
	}
	switch network {
	case "unixgram", "udp":
		conn, err := net.ListenPacket(network, address)
		s.check(err)
		s.Cleanup(func() { conn.Close() })
		s.vars[name] = conn.LocalAddr().String()
		go func() {
			for b := make([]byte, 64<<10); ; {
				n, _, err := conn.ReadFrom(b)
				if err != nil {
					return
				}
				h.Write(b[:n])
			}
		}()
	case "unix", "tcp":
		l, err := net.Listen(network, address)
		s.check(err)
		s.Cleanup(func() { l.Close() })
		s.vars[name] = l.Addr().String()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = io.Copy(h, conn)
					conn.Close()
				}()
			}
		}()
	case "silence":
		s.vars[name] = silence(s.T)
	default:
		s.fail("unknown network %s", network)
	}
}

// silence returns a TCP address that does not answer, as that of a host which is
// down: a queue of connections that nobody takes is full, and the kernel drops
// what comes then.
func silence(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", bound.(*unix.SockaddrInet4).Port)
	for range 10 {
		conn, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return address
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("ten connections did not fill a queue of none")
	return ""
}

// received waits for what matches.
func (s *script) received(args []string) {
	h, ok := s.heard[args[0]]
	if !ok {
		s.fail("nobody listens as %s", args[0])
	}
	re := regexp.MustCompile("(?m)" + args[1])
	for end := time.Now().Add(10 * time.Second); !re.MatchString(h.String()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.fail("no %q at %s: %q", args[1], args[0], h)
		}
	}
}

// mode is the permission of a file.
func (s *script) mode(args []string) {
	want, err := strconv.ParseUint(args[0], 8, 32)
	s.check(err)
	info, err := os.Stat(s.abs(args[1]))
	s.check(err)
	if got := info.Mode(); got != os.FileMode(want) {
		s.fail("%s has mode %v, want %v", args[1], got, os.FileMode(want))
	}
}

// faster is how long the last program may have taken.
func (s *script) faster(args []string) {
	most, err := time.ParseDuration(args[0])
	s.check(err)
	if s.took > most {
		s.fail("took %v, more than %v", s.took, most)
	}
}
