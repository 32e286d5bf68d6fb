package command

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// lineLimit leaves room for the rest of a message in one line of syslog.
const lineLimit = 1024

// OneLine makes text fit for the inside of a one-line message: lines are joined
// with "; ", what a terminal could act on is escaped, and the length is bounded.
func OneLine(text string) string {
	cut := len(text) > lineLimit
	if cut {
		text = text[:lineLimit]
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.ReplaceAll(line, "\t", " "))
		if line == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(Printable(line))
	}
	if cut {
		b.WriteString(" ...")
	}
	return b.String()
}

// Printable escapes the characters that are not printable and the bytes that are
// not UTF-8. What is escaped already stays as it is: text passes through here once
// for each layer that prints it.
func Printable(text string) string { return escape(text, "") }

// Text is Printable for text of several lines, and columns: it may be JSON, which
// stays that, and means the same.
func Text(text string) string { return escape(text, "\n\t") }

// escape escapes what is not printable, except for the characters to keep, as a Go
// string would; from U+007F on, where JSON needs no escape, as JSON would.
func escape(text, keep string) string {
	special := strings.IndexFunc(text, func(r rune) bool { return r < ' ' && !strings.ContainsRune(keep, r) || r >= '\x7f' })
	if special < 0 {
		return text // as nearly all is, also of long lists
	}
	var b strings.Builder
	b.WriteString(text[:special])
	text = text[special:]
	for i, r := range text {
		switch {
		case strings.ContainsRune(keep, r), strconv.IsPrint(r) && (r != utf8.RuneError || strings.HasPrefix(text[i:], "\uFFFD")):
			b.WriteRune(r)
		case r == utf8.RuneError:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r < ' ':
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		}
	}
	return b.String()
}

// buffer keeps the first limit bytes written to it and takes, but drops, the
// rest: a program must not hang because nobody reads. It is locked because an
// abandoned program may still write when its output is looked at.
type buffer struct {
	mu    sync.Mutex
	limit int
	data  []byte
	full  bool
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	room := b.limit - len(b.data)
	if len(p) > room {
		b.full = true
		b.data = append(b.data, p[:room]...)
	} else {
		b.data = append(b.data, p...)
	}
	return len(p), nil
}

func (b *buffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data[:len(b.data):len(b.data)]
}

func (b *buffer) isFull() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.full
}
