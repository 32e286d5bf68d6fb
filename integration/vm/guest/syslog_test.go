//go:build vmguest

package guest

import (
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// syslog is the machine's log daemon: every host has one, and hooks talk to it.
var syslog logDaemon

type logDaemon struct {
	mu    sync.Mutex
	lines []string
}

func (d *logDaemon) listen(path string) error {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	_ = conn.SetReadBuffer(4 << 20)
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			d.mu.Lock()
			d.lines = append(d.lines, strings.TrimSpace(string(buf[:n])))
			d.mu.Unlock()
		}
	}()
	return nil
}

// forget drops what came so far.
func (d *logDaemon) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = nil
}

// matching returns the lines that an expression matches, once there are want of
// them: a datagram that was sent may not have been read yet.
func (d *logDaemon) matching(t *testing.T, expr string, want int) []string {
	t.Helper()
	re := regexp.MustCompile(expr)
	for try := 0; ; try++ {
		d.mu.Lock()
		lines := slices.DeleteFunc(slices.Clone(d.lines), func(l string) bool { return !re.MatchString(l) })
		all := len(d.lines)
		d.mu.Unlock()
		if len(lines) == want {
			return lines
		}
		if try == 100 {
			t.Errorf("syslog has %d lines, of %d, that match %s, want %d:\n%s", len(lines), all, expr, want, strings.Join(lines, "\n"))
			return lines
		}
		time.Sleep(20 * time.Millisecond)
	}
}
