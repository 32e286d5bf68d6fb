package units

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

// fakeSystemd has each unit that it is asked for, with a closed policy of devices. What
// one is allowed all are.
type fakeSystemd struct {
	mu    sync.Mutex
	allow []allowedDevice
}

// allowedDevice is an element of a unit's DeviceAllow.
type allowedDevice struct{ Path, Access string }

func newSystemd(t testing.TB) *fakeSystemd {
	t.Helper()
	ofSystemd(t)
	l, err := net.Listen("unix", "/run/systemd/private")
	must(t, err)
	var all sync.WaitGroup
	f := &fakeSystemd{}
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				_ = f.serve(c) // until who asked has hung up
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return f
}

// serve answers one connection, after the words by which each side says who it is.
func (f *fakeSystemd) serve(c net.Conn) error {
	in := bufio.NewReader(c)
	for begun := false; !begun; {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		answer := "OK 0123456789abcdef0123456789abcdef"
		switch words := strings.Fields(strings.TrimLeft(line, "\x00")); {
		case words[0] == "BEGIN":
			begun = true
			continue
		case words[0] == "NEGOTIATE_UNIX_FD":
			answer = "AGREE_UNIX_FD"
		case len(words) == 1:
			answer = "REJECTED EXTERNAL"
		}
		if _, err := io.WriteString(c, answer+"\r\n"); err != nil {
			return err
		}
	}
	for {
		m, err := dbus.DecodeMessage(in)
		if err != nil {
			return err
		}
		if m.Flags&dbus.FlagNoReplyExpected != 0 {
			continue
		}
		reply := dbus.Message{Type: dbus.TypeMethodReply, Body: f.answer(m), Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldReplySerial: dbus.MakeVariant(m.Serial()),
		}}
		if len(reply.Body) > 0 {
			reply.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(reply.Body...))
		}
		if err := reply.EncodeTo(c, binary.LittleEndian); err != nil {
			return err
		}
	}
}

func (f *fakeSystemd) answer(m *dbus.Message) []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch m.Headers[dbus.FieldMember].Value() {
	case "GetUnit":
		return []any{dbus.ObjectPath("/unit")}
	case "SetUnitProperties":
		var set []struct {
			Name  string
			Value dbus.Variant
		}
		var more []allowedDevice
		if dbus.Store(m.Body[2:], &set) != nil || len(set) != 1 || set[0].Value.Store(&more) != nil {
			f.allow = append(f.allow, allowedDevice{Path: fmt.Sprint("not understood: ", m.Body)})
		}
		f.allow = append(f.allow, more...)
	case "Get":
		if m.Body[1] == "DeviceAllow" {
			return []any{dbus.MakeVariant(f.allow)}
		}
		return []any{dbus.MakeVariant("closed")}
	}
	return nil
}

// allows is what was set.
func (f *fakeSystemd) allows() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprint(f.allow)
}
