package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	idle  = "poststart, which has nothing to do"
	asked = "prestart --on-demand, nothing recorded"
	after = "poststop --on-demand, nothing recorded"
)

// onDemand is what a hook costs that every container of the host has, and that has
// nothing to do for this one.
var onDemand = group{
	name:   "on demand",
	rounds: 400,
	subjects: []subject{
		{empty, warm(func(w *world) (sample, error) { return w.program("empty", "prestart").run() })},
		{idle, warm(func(w *world) (sample, error) { return w.program("isulad-hooks", "poststart").run() })},
		{asked, warm(func(w *world) (sample, error) { return w.onDemand("prestart") })},
		{after, warm(func(w *world) (sample, error) { return w.onDemand("poststop") })},
	},
	figures: []figure{
		overEmpty(idle).atMost(2), overEmpty(asked).atMost(2.2), overEmpty(after).atMost(2.2),
		{"page faults of poststart, more than those of an empty program", func(r round) float64 { return r.faults(idle) - r.faults(empty) }, "", 0},
		{"page faults of prestart --on-demand, more than those of poststart", func(r round) float64 { return r.faults(asked) - r.faults(idle) }, "", 0},
	},
}

func (f figure) atMost(limit float64) figure {
	f.limit = limit
	return f
}

// onDemand runs a stage for a container that has nothing, and looks that it has made
// nothing.
func (w *world) onDemand(stage string) (s sample, err error) {
	if err := w.setRecords(nil); err != nil {
		return s, err
	}
	lock := filepath.Join(bundle, ".device_hook.lock")
	if err := os.Remove(lock); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	hook := w.program("isulad-hooks", stage)
	hook.args = append(hook.args, "--on-demand")
	if s, err = hook.run(); err != nil {
		return s, err
	}
	for _, made := range []string{record, lock, filepath.Join(shared, "master", id), "/run/isulad-tools/netns/" + id} {
		if _, err := os.Lstat(made); !errors.Is(err, fs.ErrNotExist) {
			return s, fmt.Errorf("%s made %s: %v", stage, made, err)
		}
	}
	return s, nil
}
