package logging

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// service is where syslog listens: a socket's path, or a host and a port.
type service struct{ network, address string }

// DefaultSyslog is the machine's own syslog.
const DefaultSyslog = "unix://" + devLog

func (s service) String() string { return s.network + "://" + s.address }

// parseService reads "unix://PATH", "udp://HOST:PORT" or "tcp://HOST:PORT".
// Nothing, or no path, is the machine's own syslog.
func parseService(text string) (service, error) {
	if text == "" {
		text = DefaultSyslog
	}
	network, address, ok := strings.Cut(text, "://")
	s := service{network, address}
	switch network {
	case "unix":
		if address == "" {
			s.address = devLog
		}
		ok = ok && filepath.IsAbs(s.address)
	case "udp", "tcp":
		host, port, err := net.SplitHostPort(address)
		n, numErr := strconv.ParseUint(port, 10, 16)
		ok = ok && err == nil && numErr == nil && host != "" && n > 0
	default:
		ok = false
	}
	if !ok {
		return service{}, fmt.Errorf("unknown syslog-service %q: want unix://PATH, udp://HOST:PORT or tcp://HOST:PORT", text)
	}
	return s, nil
}
