package logging

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// devLog is where the machine's own syslog listens.
const devLog = "/dev/log"

// localSyslog sends entries to the machine's syslog, as syslog(3) does, from the
// first one on. It is made of bare system calls: a hook does not touch the
// network packages.
type localSyslog struct {
	tag    string // the program
	prefix string // of each message
	socket string // where syslog listens
	fd     int    // 0: not connected
}

// priority is the facility user and the level info, as v0.9 has it.
const priority = 1<<3 | 6

func (s *localSyslog) Write(p []byte) (int, error) {
	if s.fd == 0 {
		err := s.connect(unix.SOCK_DGRAM)
		if errors.Is(err, unix.EPROTOTYPE) {
			err = s.connect(unix.SOCK_STREAM)
		}
		if err != nil {
			return 0, &os.PathError{Op: "connect to syslog", Path: s.socket, Err: err}
		}
	}
	line := fmt.Sprintf("<%d>%s %s[%d]: %s%s", priority, time.Now().Format(time.Stamp), s.tag, os.Getpid(), s.prefix, p)
	if err := s.send([]byte(line)); err != nil {
		return 0, &os.PathError{Op: "write to syslog", Path: s.socket, Err: err}
	}
	return len(p), nil
}

func (s *localSyslog) connect(kind int) error {
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: s.socket}); err != nil {
		unix.Close(fd)
		return err
	}
	s.fd = fd
	return nil
}

// sendTimeout is for a daemon that is behind, as when many containers start at once:
// its queue is short (net.unix.max_dgram_qlen), and an audit must not lose lines.
const sendTimeout = 5 * time.Second

func (s *localSyslog) send(line []byte) error {
	for end := time.Now().Add(sendTimeout); ; {
		n, err := unix.Write(s.fd, line)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n < len(line) { // a stream takes what it has room for
			line = line[n:]
			continue
		}
		left := time.Until(end)
		if !errors.Is(err, unix.EAGAIN) || left <= 0 {
			return err
		}
		// An interrupted or failing poll has seen nothing.
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}, int(left.Milliseconds())+1)
	}
}
