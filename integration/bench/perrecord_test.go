package bench

import (
	"fmt"
	"time"
)

// kind is a kind of record of which a container may have many.
type kind struct {
	// prepare makes what n records need on the host. It may be called again.
	prepare func(w *world, n int) error
	// records is device_hook.json with n of them.
	records func(w *world, n int) map[string]any
	// bare returns what does with system calls alone what prestart does for n
	// of them, in a container whose prestart had nothing to do. Only what is
	// returned is timed.
	bare func(w *world, n int) (do func() error, err error)
	// check tells whether the container has n of them.
	check func(w *world, n int) error
}

// several makes the group that measures what records cost against the bare
// system calls, for each of the sizes. The goal is for the last.
func several(name string, rounds int, k kind, sizes ...int) group {
	g := group{name: name, rounds: rounds, subjects: []subject{{nothing, startNothing}}}
	for i, n := range sizes {
		g.subjects = append(g.subjects,
			subject{ofHook(n), func(w *world) (sample, error) { return k.runHook(w, n) }},
			subject{ofBare(n), func(w *world) (sample, error) { return k.runBare(w, n) }},
		)
		f := figure{name: fmt.Sprintf("(%d - none) / bare", n), value: func(r round) float64 {
			return (r.wall(ofHook(n)) - r.wall(nothing)) / r.wall(ofBare(n))
		}}
		if i == len(sizes)-1 {
			f.limit = 2.5
		}
		g.figures = append(g.figures, f)
	}
	return g
}

func ofHook(n int) string { return fmt.Sprintf("prestart, %d recorded", n) }

func ofBare(n int) string { return fmt.Sprintf("bare system calls, %d", n) }

// fewRecords makes the group that measures n records, too few for a line.
func fewRecords(name string, n, rounds int, k kind) group {
	g := several(name, rounds, k, n)
	each := func(r round) float64 { return (r.wall(ofHook(n)) - r.wall(nothing)) / float64(n) }
	bareEach := func(r round) float64 { return r.wall(ofBare(n)) / float64(n) }
	g.figures = append(g.figures,
		figure{name: "each", value: micro(each), unit: "us"},
		figure{name: "each, bare", value: micro(bareEach), unit: "us"},
	)
	return g
}

// perRecord makes the group that measures what one record more costs, up to
// most, against the bare system calls.
func perRecord(name string, most, rounds int, k kind) group {
	g := several(name, rounds, k, most/4, most/2, most)
	// Linear: one more costs in the second half what it costs in the first.
	half := most / 2
	first := func(r round) float64 { return (r.wall(ofHook(half)) - r.wall(nothing)) / float64(half) }
	second := func(r round) float64 { return (r.wall(ofHook(most)) - r.wall(ofHook(half))) / float64(half) }
	bareEach := func(r round) float64 { return r.wall(ofBare(most)) / float64(most) }
	g.figures = append(g.figures,
		figure{name: fmt.Sprintf("each of the first %d", half), value: micro(first), unit: "us"},
		figure{name: fmt.Sprintf("each of the next %d", half), value: micro(second), unit: "us"},
		figure{name: "each, bare", value: micro(bareEach), unit: "us"},
		figure{name: "next / first", value: func(r round) float64 { return second(r) / first(r) }, limit: 1.25},
	)
	return g
}

func micro(of func(round) float64) func(round) float64 {
	return func(r round) float64 { return of(r) / float64(time.Microsecond) }
}

func (k kind) runHook(w *world, n int) (sample, error) {
	if err := k.prepare(w, n); err != nil {
		return sample{}, err
	}
	return w.started(k.records(w, n), func(hook invocation) (sample, error) {
		s, err := hook.run()
		if err != nil {
			return s, err
		}
		return s, k.check(w, n)
	})
}

func (k kind) runBare(w *world, n int) (sample, error) {
	if err := k.prepare(w, n); err != nil {
		return sample{}, err
	}
	return w.started(nil, func(hook invocation) (s sample, err error) {
		if _, err := hook.run(); err != nil {
			return s, err
		}
		do, err := k.bare(w, n)
		if err != nil {
			return s, err
		}
		started := time.Now()
		err = do()
		s.wall = time.Since(started)
		if err != nil {
			return s, err
		}
		return s, k.check(w, n)
	})
}
