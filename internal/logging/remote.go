package logging

import (
	"fmt"
	"net"
	"os"
	"time"
)

// remoteSyslog sends entries over the network, from the first one on.
type remoteSyslog struct {
	tag, prefix string // as of localSyslog
	service     service
	conn        net.Conn
}

// ioTimeout is how long a syslog on the network may take to be found and connected
// to, and for each entry, as a log that is a FIFO: a command does not hang because
// of a host that is down.
const ioTimeout = 2 * time.Second

func (s *remoteSyslog) Write(p []byte) (int, error) {
	if s.conn == nil {
		conn, err := net.DialTimeout(s.service.network, s.service.address, ioTimeout)
		if err != nil {
			return 0, fmt.Errorf("connect to syslog %s: %w", s.service, err)
		}
		s.conn = conn
	}
	host, err := os.Hostname()
	if err != nil {
		host = "-" // RFC 5424's way to say nothing
	}
	// Entries end with a newline, which is what separates them in a stream.
	line := fmt.Sprintf("<%d>%s %s %s[%d]: %s%s", priority, time.Now().Format(time.RFC3339), host, s.tag, os.Getpid(), s.prefix, p)
	err = s.conn.SetWriteDeadline(time.Now().Add(ioTimeout))
	if err == nil {
		_, err = s.conn.Write([]byte(line))
	}
	if err != nil {
		return 0, fmt.Errorf("write to syslog %s: %w", s.service, err)
	}
	return len(p), nil
}
