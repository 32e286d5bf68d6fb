// Package ledger keeps what one start of a container was granted: what may be
// real, whatever the container's names and paths say now. It lies on the host,
// in a file of lines that are only appended, each by one write(2). A line of
// intents is written before anything is made, a line with what was made, by the
// kernel's numbers, afterwards. It knows no kind of resource. The caller holds the
// container's lock.
package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
)

// Start says which start of a container a ledger is of.
type Start struct {
	Engine string     `json:"engine,omitempty"`
	Init   process.ID `json:"init"`
	Bundle string     `json:"bundle"`
	Trees  []Tree     `json:"trees,omitempty"` // what the specification gave it of the host
}

// Tree is a directory or file of the host.
type Tree struct {
	Path     string `json:"path"`
	Writable bool   `json:"writable,omitempty"`
}

// Grant is one record that was granted, or was about to be.
type Grant struct {
	Number int             `json:"n"`
	Kind   string          `json:"kind"`
	Record json.RawMessage `json:"record"`
	// Had is what the container had of the kind before, as the caller said; nil: nobody
	// knows.
	Had json.RawMessage `json:"-"`
	// Made is what was made for it, by the kernel's numbers; nil after a kill
	// between the intent and its completion.
	Made json.RawMessage `json:"made,omitempty"`

	before bool // it is an earlier start's
}

// line is one line of the file. One of its fields is set.
type line struct {
	Start   *Start                  `json:"start,omitempty"`
	Intents []*Grant                `json:"intents,omitempty"`
	Had     json.RawMessage         `json:"had,omitempty"` // before any of these intents
	Made    map[int]json.RawMessage `json:"made,omitempty"`
	Revoked []int                   `json:"revoked,omitempty"`
}

// Ledger is the file of one container. A nil Ledger is empty and keeps nothing.
type Ledger struct {
	start  Start // that is granted something now
	path   string
	began  bool              // the file says so
	grants []*Grant          // the open ones
	known  map[record]*Grant // this start's among them, as far as they were asked for
	last   int               // the highest number used
	file   *os.File          // nil until something is written
	next   line              // completions and revocations that are not written yet
	size   int               // of the lines that are whole
	intent intent            // the last line, if it is one of intents
	torn   bool              // there is one more, which is not
	end    bool              // nobody knows whether there is: the file could not be read
}

// record is one of a kind; its type is comparable.
type record struct {
	kind  string
	value any
}

// intent is a line of intents, of which nothing may come.
type intent struct {
	from    int // the file's size before
	numbers []int
}

const (
	maxSize    = 16 << 20
	longEnough = 1 << 20 // from here on the file is written anew, without what is over
)

// Open reads the ledger of container id, in the directory of whichever generation
// has one; a new one will be of generation g. Lines that cannot be understood are
// left out, and damaged says so.
func Open(g place.Generation, id string, s Start) (l *Ledger, damaged error) {
	return openIn(place.Generations, g, id, s)
}

func openIn(all []place.Generation, g place.Generation, id string, s Start) (l *Ledger, damaged error) {
	l = &Ledger{start: s, path: filepath.Join(g.Starts(), name(id))}
	for _, other := range all {
		path := filepath.Join(other.Starts(), name(id))
		data, err := open.Read(path, maxSize)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			l.path, err = path, l.read(data)
		} else if path == l.path {
			l.end = true
		}
		if err != nil {
			damaged = fmt.Errorf("what the container was granted is not fully known: %w", err)
		}
		break
	}
	return l, damaged
}

// name begins with a dot, as no container's id does: start records lie beside it.
func name(id string) string { return "." + id + ".granted" }

// read reads the file's lines. One without an end was torn by a kill, and never
// happened. A start that no poststop ended is followed by the next.
func (l *Ledger) read(data []byte) error {
	var errs []error
	l.size = bytes.LastIndexByte(data, '\n') + 1
	l.torn = l.size < len(data)
	for text := range bytes.Lines(data[:l.size]) {
		if len(text) == 1 {
			continue
		}
		var now line
		if err := json.Unmarshal(text, &now); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.path, err))
			continue
		}
		l.apply(now)
	}
	if !l.began {
		l.begin()
	}
	return errors.Join(errs...)
}

// begin makes all grants those of an earlier start.
func (l *Ledger) begin() {
	for _, g := range l.grants {
		g.before = true
	}
}

func (l *Ledger) apply(now line) {
	if now.Start != nil {
		l.begin()
		if l.began = now.Start.Init == l.start.Init; l.began {
			l.start = *now.Start // the specification may have changed since
		}
	}
	for _, g := range now.Intents {
		if g != nil {
			g.Had = now.Had
			l.grants = append(l.grants, g)
			l.last = max(l.last, g.Number)
		}
	}
	for _, g := range l.grants {
		if made, ok := now.Made[g.Number]; ok {
			g.Made = made
		}
	}
	l.grants = slices.DeleteFunc(l.grants, func(g *Grant) bool { return slices.Contains(now.Revoked, g.Number) })
}

// Trees are the host's trees that the start had by its specification.
func (l *Ledger) Trees() []Tree {
	if l == nil {
		return nil
	}
	return l.start.Trees
}

// Grants are the open grants of a kind; with before those of earlier starts,
// which no poststop revoked.
func (l *Ledger) Grants(kind string, before bool) []Grant {
	var list []Grant
	if l != nil {
		for _, g := range l.grants {
			if g.Kind == kind && g.before == before {
				list = append(list, *g)
			}
		}
	}
	return list
}

// Intend writes that records of a kind are about to be granted. Those that are
// already stay as they are. had, when there is one, is asked once for all others what
// the container had before.
func (l *Ledger) Intend(kind string, had func() any, records ...any) error {
	if l == nil {
		return nil
	}
	var now line
	added := map[record]*Grant{}
	for _, r := range records {
		if l.grant(kind, r) != nil {
			continue
		}
		text, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("%s: %w", l.path, err)
		}
		l.last++
		g := &Grant{Number: l.last, Kind: kind, Record: text}
		now.Intents, added[record{kind, r}] = append(now.Intents, g), g
	}
	if now.Intents == nil {
		return nil
	}
	if had != nil {
		text, err := json.Marshal(had())
		if err != nil {
			return fmt.Errorf("%s: %w", l.path, err)
		}
		now.Had = text
	}
	if err := l.write(now); err != nil {
		return err
	}
	for _, g := range now.Intents {
		g.Had = now.Had
	}
	if l.known == nil {
		l.known = added
	} else {
		maps.Copy(l.known, added)
	}
	return nil
}

// Made reads into made what was made for a record. false: it is not known.
func (l *Ledger) Made(kind string, record, made any) bool {
	g := l.grant(kind, record)
	return g != nil && g.Made != nil && json.Unmarshal(g.Made, made) == nil
}

// Pending tells whether a record was about to be granted, and nobody knows what
// came of it.
func (l *Ledger) Pending(kind string, record any) bool {
	g := l.grant(kind, record)
	return g != nil && g.Made == nil
}

// Make notes what was made for a record; Flush writes it.
func (l *Ledger) Make(kind string, record, made any) {
	g := l.grant(kind, record)
	text, err := json.Marshal(made)
	if g == nil || err != nil || bytes.Equal(g.Made, text) {
		return
	}
	if l.next.Made == nil {
		l.next.Made = map[int]json.RawMessage{}
	}
	g.Made, l.next.Made[g.Number] = text, text
}

// Revoke notes that a record's grant is over; Flush writes it.
func (l *Ledger) Revoke(kind string, record any) {
	if g := l.grant(kind, record); g != nil {
		l.End(*g)
	}
}

// End notes that a grant is over; Flush writes it.
func (l *Ledger) End(over Grant) {
	is := func(g *Grant) bool { return g.Number == over.Number }
	l.next.Revoked = append(l.next.Revoked, over.Number)
	l.grants = slices.DeleteFunc(l.grants, is)
	maps.DeleteFunc(l.known, func(_ record, g *Grant) bool { return is(g) })
}

// grant is the open grant of a record; nil: there is none.
func (l *Ledger) grant(kind string, r any) *Grant {
	if l == nil || len(l.grants) == 0 {
		return nil
	}
	if g := l.known[record{kind, r}]; g != nil {
		return g
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil
	}
	i := slices.IndexFunc(l.grants, func(g *Grant) bool { return g.Kind == kind && !g.before && bytes.Equal(g.Record, text) })
	if i < 0 {
		return nil
	}
	if l.known == nil {
		l.known = map[record]*Grant{}
	}
	l.known[record{kind, r}] = l.grants[i]
	return l.grants[i]
}

// Flush writes what was made and what is over, in one line; what it cannot write the
// next Flush does. A ledger in which nothing is open is removed.
func (l *Ledger) Flush() error {
	if l == nil || l.next.Made == nil && l.next.Revoked == nil {
		return nil
	}
	if len(l.grants) == 0 {
		return l.Remove()
	}
	now := l.next
	l.next = line{}
	if now.Made == nil && l.file != nil && slices.Equal(now.Revoked, l.intent.numbers) { // it never happened
		l.size = l.intent.from
		return l.truncate()
	}
	err := l.write(now)
	if err != nil {
		l.next = now // for the next one
	}
	return err
}

// Remove forgets all of it.
func (l *Ledger) Remove() error {
	if l == nil {
		return nil
	}
	l.Close()
	l.grants, l.known, l.next, l.size, l.began = nil, nil, line{}, 0, false
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Close closes the file.
func (l *Ledger) Close() {
	if l != nil {
		l.file.Close()
		l.file = nil
	}
}
