package selinux

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/config"
)

func TestTheConfigurationDecides(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"SELINUX=enforcing\n":                        false,
		"SELINUX=permissive\nSELINUXTYPE=targeted\n": false,
		"# SELINUX=disabled\nSELINUX=permissive\n":   false,
		"SELINUX=disabled\n":                         true,
		"SELINUX=Disabled\n":                         true,
		"\n  SELINUX= disabled  \n":                  true,
		"SELINUXTYPE=targeted\nSELINUX=disabled":     true,
		"SELINUXTYPE=disabled\n":                     false,
		"SELINUX=enforcing\nSELINUX=disabled\n":      false,
		"":                                           false,
	} {
		t.Run(text, func(t *testing.T) {
			if got := isDisabled(text); got != want {
				t.Errorf("%q: %v, want %v", text, got, want)
			}
		})
	}
}

func TestOneLineOfTheConfigurationChanges(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"# SELINUX= can be\n  # what\nSELINUX=enforcing\n\nSELINUXTYPE=minimal\n": "# SELINUX= can be\n  # what\nSELINUX=permissive\n\nSELINUXTYPE=minimal\n",
		"SELINUX=disabled":                         "SELINUX=permissive\n",
		" SELINUX=enforcing \nSELINUX=enforcing\n": "SELINUX=permissive\nSELINUX=enforcing\n",
		"SELINUXTYPE=mls":                          "SELINUXTYPE=mls\nSELINUX=permissive\n",
		"":                                         "SELINUX=permissive\n",
		"SELINUX=Permissive":                       "SELINUX=Permissive",
		"SELINUX=permissive\nX=\x00\xff\r\n":       "SELINUX=permissive\nX=\x00\xff\r\n",
	} {
		t.Run(text, func(t *testing.T) {
			if got := withMode(text, permissive); got != want {
				t.Errorf("%q: %q, want %q", text, got, want)
			}
		})
	}
}

func FuzzConfig(f *testing.F) {
	for _, text := range []string{"SELINUX=enforcing\nSELINUXTYPE=targeted\n", "SELINUX=", "\r\nSELINUX =\"x\"", "SELINUX=permissive", "SELINUX=a=b\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		after := withMode(text, permissive)
		if !strings.EqualFold(setting(after, modeKey), permissive) || withMode(after, permissive) != after {
			t.Fatalf("%q became %q", text, after)
		}
		if setting(after, typeKey) != setting(text, typeKey) {
			t.Fatalf("%q became %q: another policy", text, after)
		}
	})
}

// newSystem is a system in a folder, with a configuration.
func newSystem(t *testing.T, text string) *system {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, configDir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, configPath), []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	s, err := openSystem(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func (s *system) text(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(s.path(configPath))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestPermissiveAndBack(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "SELINUX=enforcing\nSELINUXTYPE=minimal\n")
	back, err := s.setPermissive(t.Context(), time.Second)
	if err != nil || s.text(t) != "SELINUX=permissive\nSELINUXTYPE=minimal\n" {
		t.Fatalf("%q, %v", s.text(t), err)
	}
	if info, err := os.Stat(s.path(configPath)); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	if err := back(); err != nil || s.text(t) != "SELINUX=enforcing\nSELINUXTYPE=minimal\n" {
		t.Errorf("taken back: %q, %v", s.text(t), err)
	}

	// What somebody else has written since is theirs.
	if back, err = s.setPermissive(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path(configPath), []byte("SELINUX=disabled\n"), 0); err != nil {
		t.Fatal(err)
	}
	if err := back(); err != nil || s.text(t) != "SELINUX=disabled\n" {
		t.Errorf("taken back: %q, %v", s.text(t), err)
	}
	if list, err := os.ReadDir(s.path(configDir)); err != nil || len(list) != 1 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

func TestAConfigurationThatIsNoFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	for what, make := range map[string]func(path string) error{
		"not a regular file": func(path string) error { return os.Mkdir(path, 0o755) },
		"larger than":        func(path string) error { return os.WriteFile(path, make([]byte, maxConfig+1), 0o600) },
		"no such file":       func(string) error { return nil },
		// Replacing a link would not change the file that it leads to.
		"save ": func(path string) error {
			if err := os.WriteFile(path+".d", []byte("SELINUX=enforcing"), 0o600); err != nil {
				return err
			}
			return os.Symlink("config.d", path)
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newSystem(t, "")
			if err := os.Remove(s.path(configPath)); err != nil {
				t.Fatal(err)
			}
			if err := make(s.path(configPath)); err != nil {
				t.Fatal(err)
			}
			_, err := s.setPermissive(t.Context(), time.Second)
			if err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), s.path(configPath)) {
				t.Errorf("%q, want %q and where", err, what)
			}
		})
	}
}

func TestOneEditsAtATime(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "SELINUX=enforcing\n")
	lock, err := config.LockDir(t.Context(), s.path(configDir), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.setPermissive(t.Context(), 10*time.Millisecond)
	if want := "lock " + s.path(configDir) + ": another command holds it"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	lock.Unlock()
	if _, err := s.setPermissive(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
}
