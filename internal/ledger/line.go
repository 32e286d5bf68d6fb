package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A line is a verb and its words, with tabs between them; those in braces are JSON,
// those in quotes Go's strings:
//
//	start PID TIME "ENGINE" "BUNDLE" [ro|rw "TREE"]...
//	                          what follows is of this start
//	had KIND {any}            what the container had of a kind before what follows
//	grant NUMBER KIND {any}   a record is about to be granted
//	made NUMBER {any}         what was made for it
//	revoke NUMBER             it is over
const (
	separator = "\t"

	verbStart  = "start"
	verbHad    = "had"
	verbGrant  = "grant"
	verbMade   = "made"
	verbRevoke = "revoke"
)

func appendLine(text []byte, verb, word string, value []byte) []byte {
	text = append(append(append(text, verb...), separator...), word...)
	if value != nil {
		text = append(append(text, separator...), value...)
	}
	return append(text, '\n')
}

func appendStart(text []byte, s Start) []byte {
	words := []string{strconv.Itoa(s.Init.PID), strconv.FormatUint(s.Init.Start, 10), strconv.Quote(s.Engine), strconv.Quote(s.Bundle)}
	for _, t := range s.Trees {
		access := "ro"
		if t.Writable {
			access = "rw"
		}
		words = append(words, access, strconv.Quote(t.Path))
	}
	return appendLine(text, verbStart, strings.Join(words, separator), nil)
}

func appendGrant(text []byte, g *Grant) []byte {
	return appendLine(text, verbGrant, strconv.Itoa(g.Number)+separator+g.Kind, g.Record)
}

func appendCompletions(text []byte, made []*Grant, over []int) []byte {
	for _, g := range made {
		text = appendLine(text, verbMade, strconv.Itoa(g.Number), g.Made)
	}
	for _, n := range over {
		text = appendLine(text, verbRevoke, strconv.Itoa(n), nil)
	}
	return text
}

// appendGrants appends those of earlier starts or of this one, each after what the
// container had before it, and at the end what it had of each kind before what follows.
func appendGrants(text []byte, grants []*Grant, before bool, last map[string]json.RawMessage) []byte {
	had := map[string]json.RawMessage{}
	note := func(kind string, now json.RawMessage) {
		if bytes.Equal(had[kind], now) {
			return
		}
		if had[kind] = now; now == nil {
			now = json.RawMessage("null")
		}
		text = appendLine(text, verbHad, kind, now)
	}
	for _, g := range grants {
		if g.before != before {
			continue
		}
		note(g.Kind, g.Had)
		text = appendGrant(text, g)
		if g.Made != nil {
			text = appendCompletions(text, []*Grant{g}, nil)
		}
	}
	for kind, now := range last {
		note(kind, now)
	}
	return text
}

// read reads the file's lines. One without an end was torn by a kill, and never
// happened. A start that no poststop ended is followed by the next.
func (l *Ledger) read(data []byte) error {
	var errs []error
	l.size = bytes.LastIndexByte(data, '\n') + 1
	l.torn = l.size < len(data)
	numbers := map[int]*Grant{}
	for line := range bytes.Lines(data[:l.size]) {
		if line = line[:len(line)-1]; len(line) == 0 {
			continue
		}
		if err := l.readLine(line, numbers); err != nil {
			errs = append(errs, fmt.Errorf("%s: %.100q: %w", l.path, line, err))
		}
	}
	l.grants = slices.DeleteFunc(l.grants, func(g *Grant) bool { return g.over })
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
	l.had = nil
}

var errLine = errors.New("not a line of a ledger")

func (l *Ledger) readLine(line []byte, numbers map[int]*Grant) error {
	verb, rest, _ := bytes.Cut(line, []byte(separator))
	word, value, more := bytes.Cut(rest, []byte(separator))
	switch string(verb) {
	case verbStart:
		return l.readStart(string(rest))
	case verbHad:
		if !json.Valid(value) {
			return errLine
		}
		if l.had == nil {
			l.had = map[string]json.RawMessage{}
		}
		l.had[string(word)] = value
		return nil
	}
	number, err := strconv.Atoi(string(word))
	if err != nil {
		return err
	}
	g := numbers[number]
	switch verb := string(verb); {
	case verb == verbGrant && g == nil:
		kind, value, _ := bytes.Cut(value, []byte(separator))
		if !json.Valid(value) {
			return errLine
		}
		g = &Grant{Number: number, Kind: string(kind), Record: value, Had: l.had[string(kind)]}
		l.grants, numbers[number], l.last = append(l.grants, g), g, max(l.last, number)
	case verb == verbMade && json.Valid(value):
		if g != nil { // else it is over
			g.Made = value
		}
	case verb == verbRevoke && !more:
		if g != nil {
			g.over = true
		}
	default:
		return errLine
	}
	return nil
}

func (l *Ledger) readStart(text string) error {
	words := strings.Split(text, separator)
	if len(words) < 4 || len(words)%2 != 0 {
		return errLine
	}
	var s Start
	var errs [4]error
	s.Init.PID, errs[0] = strconv.Atoi(words[0])
	s.Init.Start, errs[1] = strconv.ParseUint(words[1], 10, 64)
	s.Engine, errs[2] = strconv.Unquote(words[2])
	s.Bundle, errs[3] = strconv.Unquote(words[3])
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	for tree := range slices.Chunk(words[4:], 2) {
		path, err := strconv.Unquote(tree[1])
		if err != nil || tree[0] != "ro" && tree[0] != "rw" {
			return errLine
		}
		s.Trees = append(s.Trees, Tree{Path: path, Writable: tree[0] == "rw"})
	}
	l.begin()
	if l.began = l.any || s.Init == l.start.Init; l.began {
		l.start = s // the specification may have changed since
	}
	return nil
}
