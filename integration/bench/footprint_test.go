package bench

// footprints are the starts of which the memory is looked at.
var footprints = []struct {
	name  string
	peak  func(*world) (int64, error)
	limit float64 // MiB; 0: for comparison
}{
	{"empty Go program", func(w *world) (int64, error) { return w.program("empty", "prestart").peak() }, 0},
	{nothing, func(w *world) (int64, error) { return peakOf(w, nil) }, 12},
	{"prestart, 100 devices, 128 binds", func(w *world) (int64, error) {
		if err := charDevices.prepare(w, 100); err != nil {
			return 0, err
		}
		if err := binds.prepare(w, 128); err != nil {
			return 0, err
		}
		all := charDevices.records(w, 100)
		for key, list := range binds.records(w, 128) {
			all[key] = list
		}
		return peakOf(w, all)
	}, 12},
}

func peakOf(w *world, records map[string]any) (bytes int64, err error) {
	_, err = w.started(records, func(hook invocation) (s sample, err error) {
		bytes, err = hook.peak()
		return s, err
	})
	return bytes, err
}
