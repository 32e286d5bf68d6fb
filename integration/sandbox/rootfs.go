package sandbox

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// busyboxPaths are where a static busybox may be.
var busyboxPaths = []string{"/bin/busybox", "/usr/bin/busybox"}

// Rootfs fills dir with a small root file system: busybox, all its applets in
// /bin (and those that are looked for there in /sbin), the usual empty
// directories and files of /etc.
func Rootfs(dir string) error {
	for _, d := range []string{"bin", "sbin", "dev", "etc", "proc", "sys", "root", "run", "tmp", "usr/bin", "usr/sbin", "var/log", "mnt"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(dir, "tmp"), 0o1777); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"etc/passwd":   "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
		"etc/group":    "root:x:0:\ntty:x:5:\ndisk:x:6:\nnogroup:x:65534:\n",
		"etc/hosts":    "127.0.0.1 localhost\n",
		"etc/hostname": "container\n", "etc/resolv.conf": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	busybox, err := findBusybox()
	if err != nil {
		return err
	}
	if err := copyFile(busybox, filepath.Join(dir, "bin/busybox"), 0o755); err != nil {
		return err
	}
	all, err := applets()
	if err != nil {
		return err
	}
	for _, applet := range all {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", applet)); err != nil {
			return err
		}
	}
	return os.Symlink("../bin/busybox", filepath.Join(dir, "sbin/init"))
}

// applets are busybox's, but itself.
var applets = sync.OnceValues(func() ([]string, error) {
	busybox, err := findBusybox()
	if err != nil {
		return nil, err
	}
	list, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("busybox --list: %w", err)
	}
	return slices.DeleteFunc(strings.Fields(string(list)), func(a string) bool { return a == "busybox" }), nil
})

func findBusybox() (string, error) {
	for _, p := range busyboxPaths {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("find busybox: none of %v (package busybox-static)", busyboxPaths)
}

func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_CLOEXEC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
