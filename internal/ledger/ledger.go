// Package ledger keeps what one start of a container was granted: what may be
// real, whatever the container's names and paths say now. It lies on the host,
// in a file of lines that are only appended. A line of intent is written before
// anything is made, one with what was made, by the kernel's numbers, afterwards.
// It knows no kind of resource. The caller holds the container's lock.
package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
)

// Start says which start of a container a ledger is of.
type Start struct {
	Engine string
	Init   process.ID
	Bundle string
	Trees  []Tree // what the specification gave it of the host
	// Ask, when there is one, tells Trees when they are needed.
	Ask func() []Tree
}

// Tree is a directory or file of the host.
type Tree struct {
	Path     string
	Writable bool
}

// Grant is one record that was granted, or was about to be.
type Grant struct {
	Number int
	Kind   string
	Record json.RawMessage
	// Made is what was made for it, by the kernel's numbers; nil after a kill
	// between the intent and its completion.
	Made json.RawMessage
	// Had is what the container had of the kind before, as the caller said; nil: nobody
	// knows.
	Had json.RawMessage

	value  any  // the record as it was asked for last; nil: it was not. It is comparable
	before bool // it is an earlier start's
	over   bool
}

// Ledger is the file of one container. A nil Ledger is empty and keeps nothing.
type Ledger struct {
	start  Start // that is granted something now
	any    bool  // whichever start it is
	path   string
	began  bool                       // the file says so
	grants []*Grant                   // the open ones
	last   int                        // the highest number used
	had    map[string]json.RawMessage // by kind, what was noted last in this start

	found   int // the place of the grant that was found last
	encoder *json.Encoder
	encoded bytes.Buffer // by encoder: the record that was asked for last

	made   []*Grant // what was made for these is not written yet
	over   []int    // that are not written to be over yet
	intent intent   // the last line, if it is one of intents

	file *os.File // nil until something is written
	size int      // of the lines that are whole
	torn bool     // there is one more, which is not
	end  bool     // nobody knows whether there is: the file could not be read
}

// intent is what was written last: lines of intent, which may come to nothing.
type intent struct {
	numbers []int
	// What was before it: the file's size, whether it had begun, and what it said that
	// the container had.
	size  int
	began bool
	had   map[string]json.RawMessage
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
	l = &Ledger{start: s, path: Path(g, id)}
	for _, other := range all {
		path := Path(other, id)
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
			damaged = fmt.Errorf("the ledger of what the container was granted is damaged: %w", err)
		}
		break
	}
	return l, damaged
}

// fileName begins with a dot, as no container's id does: start records lie beside it.
func fileName(id string) string { return "." + id + ".granted" }

// Path is the ledger of container id, in the directory of a generation.
func Path(g place.Generation, id string) string { return filepath.Join(g.Starts(), fileName(id)) }

// Trees are the host's trees that the start had by its specification.
func (l *Ledger) Trees() []Tree {
	if l == nil {
		return nil
	}
	l.start.ask()
	return l.start.Trees
}

func (s *Start) ask() {
	if s.Ask != nil {
		s.Trees, s.Ask = s.Ask(), nil
	}
}

// Grants are the open grants of a kind; with before those of earlier starts,
// which no poststop revoked.
func (l *Ledger) Grants(kind string, before bool) []Grant {
	if l == nil {
		return nil
	}
	is := func(g *Grant) bool { return g.Kind == kind && g.before == before }
	n := 0
	for _, g := range l.grants {
		if is(g) {
			n++
		}
	}
	return l.list(n, is)
}

// list copies the grants that are so; there is room for n.
func (l *Ledger) list(n int, is func(*Grant) bool) []Grant {
	list := make([]Grant, 0, n)
	for _, g := range l.grants {
		if is(g) {
			list = append(list, *g)
		}
	}
	return list
}

// Intend writes that records of a kind are about to be granted. Those that are
// already stay as they are. had, when there is one, is asked once for all others what
// the container had before. It is given what was noted last; nil: that still holds.
func (l *Ledger) Intend(kind string, had func(last json.RawMessage) any, records ...any) error {
	if l == nil {
		return nil
	}
	var added []*Grant
	for _, r := range records {
		if l.grant(kind, r) != nil {
			continue
		}
		text, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("%s: %w", l.path, err)
		}
		l.last++
		added = append(added, &Grant{Number: l.last, Kind: kind, Record: text, value: r})
	}
	if added == nil {
		return nil
	}
	return l.intend(kind, had, added)
}

// Has tells whether a record was granted, or was about to be.
func (l *Ledger) Has(kind string, record any) bool { return l.grant(kind, record) != nil }

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
	if g == nil {
		return
	}
	text, err := json.Marshal(made)
	if err != nil || bytes.Equal(g.Made, text) {
		return
	}
	g.Made, l.made = text, append(l.made, g)
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
	l.over = append(l.over, over.Number)
	l.grants = slices.DeleteFunc(l.grants, is)
}

// Others are this start's open grants of a kind but those that were asked for by a record
// that isKnown.
func (l *Ledger) Others(kind string, isKnown func(record any) bool) []Grant {
	if l == nil {
		return nil
	}
	return l.list(0, func(g *Grant) bool { return g.Kind == kind && !g.before && (g.value == nil || !isKnown(g.value)) })
}

// grant is this start's open grant of a record; nil: there is none.
func (l *Ledger) grant(kind string, r any) *Grant {
	if l == nil {
		return nil
	}
	var text []byte
	isText := func(g *Grant) bool {
		if text == nil {
			text = l.text(r)
		}
		return text != nil && bytes.Equal(g.Record, text)
	}
	g := l.find(kind, func(g *Grant) bool { return g.value == r || g.value == nil && isText(g) })
	if g == nil { // it may have been asked for by another record of this text
		g = l.find(kind, isText)
	}
	if g != nil {
		g.value = r
	}
	return g
}

// find is the grant of this start that is so, from the one on that was found last: they
// are mostly asked for in their order.
func (l *Ledger) find(kind string, is func(*Grant) bool) *Grant {
	for i := range l.grants {
		at := (l.found + i) % len(l.grants)
		if g := l.grants[at]; g.Kind == kind && !g.before && is(g) {
			l.found = at
			return g
		}
	}
	return nil
}

// text is a record as Intend writes it, until it is called again; nil: it cannot be written.
func (l *Ledger) text(r any) []byte {
	if l.encoder == nil {
		l.encoder = json.NewEncoder(&l.encoded)
	}
	l.encoded.Reset()
	if l.encoder.Encode(r) != nil {
		return nil
	}
	return bytes.TrimSuffix(l.encoded.Bytes(), []byte("\n"))
}

// Flush writes what was made and what is over, in one go; what it cannot write the
// next Flush does. A ledger in which nothing is open is removed.
func (l *Ledger) Flush() error {
	if l == nil || l.made == nil && l.over == nil {
		return nil
	}
	if len(l.grants) == 0 {
		return l.Remove()
	}
	var err error
	if l.made == nil && l.file != nil && slices.Equal(l.over, l.intent.numbers) { // it never happened
		l.size, l.began, l.had = l.intent.size, l.intent.began, l.intent.had
		err = l.truncate()
	} else {
		err = l.write(appendCompletions(nil, l.made, l.over))
	}
	if err == nil {
		l.made, l.over = nil, nil
	}
	return err
}

// Remove forgets all of it.
func (l *Ledger) Remove() error {
	if l == nil {
		return nil
	}
	l.Close()
	l.grants, l.had, l.made, l.over, l.size, l.began = nil, nil, nil, nil, 0, false
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
