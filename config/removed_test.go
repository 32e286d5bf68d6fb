package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A container that its engine removes is left to that: a file that is made anew in its
// directory would stop it half-way.
func TestAContainerThatIsBeingRemovedGetsNoFile(t *testing.T) {
	t.Parallel()
	entries := func(dir string) (names []string) {
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			names = append(names, e.Name())
		}
		return names
	}
	state := func(t *testing.T) (dir string) {
		dir = filepath.Join(t.TempDir(), "engines/lcr/id")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"config.json", "hostconfig.json"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	remove := func(t *testing.T, dir string, names ...string) {
		for _, name := range names {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("before the lock", func(t *testing.T) {
		dir := state(t)
		remove(t, dir, "config.json")
		if _, err := LockContainer(t.Context(), dir, time.Second); !errors.Is(err, ErrRemoved) {
			t.Errorf("%v, want ErrRemoved", err)
		}
		if got := entries(dir); !slices.Equal(got, []string{"hostconfig.json"}) {
			t.Errorf("made are %q", got)
		}
	})
	t.Run("while the lock is waited for", func(t *testing.T) {
		dir := state(t)
		first, err := LockContainer(t.Context(), dir, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		second := make(chan error)
		go func() {
			_, err := LockContainer(t.Context(), dir, time.Minute)
			second <- err
		}()
		time.Sleep(20 * time.Millisecond) // or it never waits, and says the same
		remove(t, dir, "config.json", LockName)
		first.Unlock()
		if err := <-second; !errors.Is(err, ErrRemoved) {
			t.Errorf("%v, want ErrRemoved", err)
		}
		if got := entries(dir); !slices.Equal(got, []string{"hostconfig.json"}) {
			t.Errorf("made are %q", got)
		}
	})
	t.Run("before the save", func(t *testing.T) {
		dir := state(t)
		d, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := Put(d, Binds, []string{"/a:/b:rw"}); err != nil {
			t.Fatal(err)
		}
		remove(t, dir, "config.json")
		if err := d.Save(); !errors.Is(err, ErrRemoved) {
			t.Errorf("%v, want ErrRemoved", err)
		}
		if got := entries(dir); !slices.Equal(got, []string{"hostconfig.json"}) {
			t.Errorf("made are %q", got)
		}
	})
}
