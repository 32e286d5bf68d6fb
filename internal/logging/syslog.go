package logging

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// localSyslog sends entries to the machine's syslog, as syslog(3) does, from the
// first one on. The standard library's log/syslog would link the network
// packages, whose start-up every container start would pay for.
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
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return 0, os.NewSyscallError("socket", err)
		}
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: s.socket}); err != nil {
			unix.Close(fd)
			return 0, &os.PathError{Op: "connect to syslog", Path: s.socket, Err: err}
		}
		s.fd = fd
	}
	line := fmt.Sprintf("<%d>%s %s[%d]: %s%s", priority, time.Now().Format(time.Stamp), s.tag, os.Getpid(), s.prefix, p)
	if err := s.send([]byte(line)); err != nil {
		return 0, &os.PathError{Op: "write to syslog", Path: s.socket, Err: err}
	}
	return len(p), nil
}

// patience is for a daemon that is behind, as when many containers start at once:
// its queue is short (net.unix.max_dgram_qlen), and an audit must not lose lines.
const patience = 5 * time.Second

func (s *localSyslog) send(line []byte) error {
	for end := time.Now().Add(patience); ; {
		_, err := unix.Write(s.fd, line)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		left := time.Until(end)
		if !errors.Is(err, unix.EAGAIN) || left <= 0 {
			return err
		}
		// An interrupted or failing poll is one that has seen nothing.
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}, int(left.Milliseconds())+1)
	}
}
