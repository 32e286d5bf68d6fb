package hooks

import (
	"errors"
	"strings"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/open"
)

// errRootless refuses what could only fail later, and less clearly.
var errRootless = errors.New("the container is rootless: only root's podman can give a container devices, paths, interfaces or modules of the host; run it as root, or without the annotation isula.org/tools")

// checkRoot refuses a hook that podman runs for an ordinary user, who is root in a user
// namespace of his.
func checkRoot(st state) error {
	if container.EngineOf(st.Bundle) != "podman" {
		return nil
	}
	ids, err := open.Read("/proc/self/uid_map", 64<<10)
	if err == nil && !isHosts(string(ids)) {
		err = errRootless
	}
	return err
}

// isHosts tells whether a uid_map is that of the first user namespace.
func isHosts(ids string) bool { return strings.Join(strings.Fields(ids), " ") == "0 0 4294967295" }
