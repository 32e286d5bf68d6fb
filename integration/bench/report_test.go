package bench

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkReport measures everything and prints one table. Its own time per
// operation means nothing.
func BenchmarkReport(b *testing.B) {
	w, err := newWorld(b)
	if err != nil {
		b.Fatal(err)
	}
	started := time.Now()
	r := report{out: os.Stdout}
	r.machine()
	for _, g := range groups {
		rounds, err := g.measure(w, g.rounds)
		if err != nil {
			b.Fatal(err)
		}
		r.group(g, rounds)
	}
	if err := r.footprint(w); err != nil {
		b.Fatal(err)
	}
	if err := w.stop(); err != nil {
		b.Fatal(err)
	}
	r.verdict(time.Since(started))
}

// report prints, and counts the goals. They are judged by the median of the
// rounds. The column 10% is what the same figure is for the run of each subject
// that only a tenth of its runs were faster than: the cost when nothing comes
// between. Where the two disagree much, the machine was too busy to tell.
type report struct {
	out           io.Writer
	goals, missed int
}

func (r *report) printf(format string, args ...any) { fmt.Fprintf(r.out, format, args...) }

func (r *report) machine() {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		panic(err) // it has no way to fail
	}
	r.printf("\n%s %s, %d processors, %s; the goals are for the medians\n", unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]),
		runtime.NumCPU(), runtime.Version())
}

func (r *report) group(g group, rounds []round) {
	r.printf("\n%s, %d rounds; ms\n", g.name, len(rounds))
	best := undisturbed(rounds)
	r.printf("  %-40s %9s %9s %9s %9s %9s\n", "", "median", "quarter", "three q.", "10%", "cpu")
	for _, s := range g.subjects {
		wall := spreadOf(rounds, func(r round) float64 { return milliseconds(r.wall(s.name)) })
		cpu := spreadOf(rounds, func(r round) float64 { return milliseconds(float64(r[s.name].cpu)) })
		r.printf("  %-40s %9.3f %9.3f %9.3f %9.3f", s.name, wall.median, wall.low, wall.high, milliseconds(best.wall(s.name)))
		if cpu.high > 0 {
			r.printf(" %9.3f", cpu.median)
		}
		r.printf("\n")
	}
	r.printf("  %-40s %9s %9s %9s %9s %9s\n", "of each round", "median", "quarter", "three q.", "10%", "goal")
	for _, f := range g.figures {
		s := spreadOf(rounds, f.value)
		r.printf("  %-40s %9.2f %9.2f %9.2f %9.2f", f.name, s.median, s.low, s.high, f.value(best))
		r.goal(s.median, f.limit, f.unit)
	}
}

// goal ends a line with the goal and whether it is met.
func (r *report) goal(got, limit float64, unit string) {
	switch {
	case limit == 0:
		r.printf("  %s\n", unit)
		return
	case got <= limit:
		r.printf("   <= %5.2f %s ok\n", limit, unit)
	default:
		r.missed++
		r.printf("   <= %5.2f %s MISSED\n", limit, unit)
	}
	r.goals++
}

// footprint is what the hook takes besides time.
func (r *report) footprint(w *world) error {
	const mega = 1 << 20
	if err := w.use(plain); err != nil {
		return err
	}
	r.printf("\nfootprint; MiB\n")
	info, err := os.Stat(bin + "/isulad-hooks")
	if err != nil {
		return err
	}
	line := func(name string, bytes int64, limit float64) {
		mib := float64(bytes) / mega
		r.printf("  %-40s %9.2f %9s %9s", name, mib, "", "")
		r.goal(mib, limit, "")
	}
	line("executable", info.Size(), 9e6/(1<<20)) // 9 MB
	for _, f := range footprints {
		peak, err := f.peak(w)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		line("resident at most, "+f.name, peak, f.limit)
	}
	return nil
}

func (r *report) verdict(took time.Duration) {
	r.printf("\n%d of %d goals missed; measured for %v\n\n", r.missed, r.goals, took.Round(time.Second))
}
