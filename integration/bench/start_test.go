package bench

const (
	empty   = "empty Go program"
	decode  = "decode the input only"
	nothing = "prestart, nothing recorded"
)

// startUp is the price of having a hook at all.
var startUp = group{
	name:   "start-up",
	rounds: 400,
	subjects: []subject{
		{empty, warm(func(w *world) (sample, error) { return w.program("empty", "prestart").run() })},
		{decode, warm(func(w *world) (sample, error) { return w.program("decode", "prestart").run() })},
		{nothing, warm(startNothing)},
	},
	figures: []figure{
		{"prestart / empty program", func(r round) float64 {
			return r.wall(nothing) / r.wall(empty)
		}, "", 2.5},
		{"(prestart - decode) / empty program", func(r round) float64 {
			return (r.wall(nothing) - r.wall(decode)) / r.wall(empty)
		}, "", 0.8},
	},
}

// startNothing is a start of a container without device_hook.json and without
// KERNEL_MODULES.
func startNothing(w *world) (sample, error) { return w.started(nil, invocation.run) }

// warm counts the second of two runs. What the processor's caches hold of a
// program decides over a tenth of a millisecond, and the hook, which has a
// poststop to run too, would be in them more often than the others.
func warm(run func(*world) (sample, error)) func(*world) (sample, error) {
	return func(w *world) (sample, error) {
		if s, err := run(w); err != nil {
			return s, err
		}
		return run(w)
	}
}
