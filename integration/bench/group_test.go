package bench

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// groups is everything that is measured, in the order of the report. What is in
// one group runs alternating and is compared with each other.
var groups = []group{
	startUp,
	onDemand,
	modulePolicy,
	perRecord("character devices", 100, 150, charDevices),
	perRecord("binds", 128, 100, binds),
	fewRecords("block devices", 10, 200, blockDevices),
	interfaces(60, 1, 8, 32),
	typicalStart,
	startUp.with(userNS),
	fewRecords("character devices", 10, 200, boundDevices).with(userNS),
	commands,
	lookups,
	udevRules,
	events,
	startUp.with(unified),
	fewRecords("character devices", 10, 200, programDevices).with(unified),
}

// group is a set of subjects, all of them run once in every round.
type group struct {
	name     string
	setting  setting
	rounds   int
	subjects []subject
	figures  []figure
}

// with is g in another setting.
func (g group) with(s setting) group {
	g.name, g.setting = g.name+s.String(), s
	return g
}

// subject is something that is measured.
type subject struct {
	name string
	run  func(*world) (sample, error) // sets up, measures, looks whether it did it, clears up
}

// figure is a number made from the samples of one round.
type figure struct {
	name  string
	value func(round) float64
	unit  string
	limit float64 // the goal, at most this; 0: there is none
}

// round is one run of each subject, by name.
type round map[string]sample

func (r round) wall(name string) float64 {
	s, ok := r[name]
	if !ok {
		panic("no subject " + name) // a misspelt row, found by TestRowsDoTheirWork
	}
	return float64(s.wall)
}

func (r round) faults(name string) float64 { return float64(r[name].faults) }

// measure runs the group's rounds. The order is another one in each, so that
// nobody always follows the one that leaves the most for the kernel to tidy up.
func (g group) measure(w *world, rounds int) ([]round, error) {
	if err := w.use(g.setting); err != nil {
		return nil, fmt.Errorf("%s: %w", g.name, err)
	}
	all := make([]round, rounds)
	order := rand.New(rand.NewPCG(1, 2))
	for i := range all {
		all[i] = round{}
		for _, j := range order.Perm(len(g.subjects)) {
			s := g.subjects[j]
			took, err := s.run(w)
			if err != nil {
				return nil, fmt.Errorf("%s, %s, round %d: %w", g.name, s.name, i, err)
			}
			all[i][s.name] = took
		}
	}
	return all, nil
}

// spread is a distribution in three numbers.
type spread struct{ low, median, high float64 } // the quartiles

func spreadOf(rounds []round, value func(round) float64) spread {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = value(r)
	}
	slices.Sort(values)
	return spread{quantile(values, 0.25), quantile(values, 0.5), quantile(values, 0.75)}
}

// undisturbed is a round as it is when nothing comes between: of each subject
// the sample below which lies a tenth of its samples.
func undisturbed(rounds []round) round {
	r := round{}
	for name := range rounds[0] {
		wall := make([]float64, len(rounds))
		for i := range rounds {
			wall[i] = rounds[i].wall(name)
		}
		slices.Sort(wall)
		r[name] = sample{wall: time.Duration(quantile(wall, 0.1)), faults: rounds[0][name].faults}
	}
	return r
}

// quantile interpolates between the two nearest of sorted values.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

func milliseconds(d float64) float64 { return d / float64(time.Millisecond) }
