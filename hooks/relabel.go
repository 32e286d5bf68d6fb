package hooks

import (
	"bufio"
	"os"
	"strings"
)

// relabel says what --with-relabel comes to: nothing on a host without
// SELinux; elsewhere the container starts, unlabelled, with a warning, as it
// does whenever relabelling fails.
func (h *Hook) relabel(s *start) {
	if selinuxDisabled("/etc/selinux/config") {
		return
	}
	h.log.WithField("id", s.state.ID).Warn("--with-relabel: relabelling is not supported by this version; the container starts as it is")
}

// selinuxDisabled reads the host's configuration. A host without one has no
// SELinux.
func selinuxDisabled(config string) bool {
	f, err := os.Open(config)
	if err != nil {
		return true
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(strings.TrimSpace(s.Text()), "SELINUX="); ok {
			return strings.TrimSpace(v) == "disabled"
		}
	}
	return false
}
