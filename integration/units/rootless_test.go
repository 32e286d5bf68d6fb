package units

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/integration/sandbox"
)

// An ordinary user's podman runs hooks in a user namespace, where he is root.
func TestARootlessContainerIsRefused(t *testing.T) {
	bundle := filepath.Join(t.TempDir(), "overlay-containers/c1/userdata")
	write(t, filepath.Join(bundle, container.SpecName), "{}")
	cmd := exec.Command("unshare", "--user", "--map-root-user", sandbox.Binary(t), "prestart", "--log", "/dev/null")
	cmd.Stdin = strings.NewReader(`{"id":"c1","pid":1,"bundle":"` + bundle + `"}`)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "the container is rootless: only root's podman") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v: %s", err, out)
	}
}
