package rtnl

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Conn is one namespace, by a socket that was opened in it. What the kernel refuses
// is an *OpError.
type Conn struct {
	sockets map[int]*nl.SocketHandle
}

// Dial is the namespace of the calling thread.
func Dial() (*Conn, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE) // to nothing
	if err != nil {
		return nil, err
	}
	return &Conn{map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}}, nil
}

// Close closes the socket.
func (c *Conn) Close() {
	for _, socket := range c.sockets {
		socket.Close()
	}
}

// OpError says which request failed.
type OpError struct {
	Op      string // with the kind of subject: "set link with index"
	Subject any    // an index, a name, an address or a route; nil where Op says all
	Err     error  // the kernel's, or what is wrong with its answer
}

func (e *OpError) Error() string {
	if e.Subject == nil {
		return e.Op + ": " + e.Err.Error()
	}
	return fmt.Sprintf("%s %v: %v", e.Op, e.Subject, e.Err)
}

// Unwrap returns what the kernel said.
func (e *OpError) Unwrap() error { return e.Err }

// request is one message to the kernel.
type request struct {
	*nl.NetlinkRequest
	op      string
	subject any
}

// byteOrder: the library finds it out when it is first needed, without a lock.
var byteOrder sync.Once

// request begins a message. Inlined into each caller, it and what it is made of would be
// 7 KB of the program.
//
//go:noinline
func (c *Conn) request(op string, subject any, kind, flags int, header nl.NetlinkRequestData) request {
	byteOrder.Do(func() { nl.NativeEndian() })
	r := nl.NewNetlinkRequest(kind, flags)
	r.Sockets = c.sockets
	r.AddData(header)
	return request{r, op, subject}
}

// wrap makes err an error of the request; nil stays nil.
//
//go:noinline
func (r request) wrap(err error) error {
	if err == nil {
		return nil
	}
	return &OpError{r.op, r.subject, err}
}

func (r request) addString(attribute int, value string) {
	r.addBytes(attribute, nl.ZeroTerminated(value))
}

func (r request) addUint32(attribute, value int) {
	r.addBytes(attribute, nl.Uint32Attr(uint32(value)))
}

//go:noinline
func (r request) addBytes(attribute int, value []byte) {
	if value != nil {
		r.AddData(nl.NewRtAttr(attribute, value))
	}
}

// query returns the answers of one kind.
func (r request) query(kind uint16) ([][]byte, error) {
	for range 3 {
		answers, err := r.Execute(unix.NETLINK_ROUTE, kind)
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			return answers, r.wrap(err)
		}
	}
	return nil, r.wrap(unix.EAGAIN) // the list changes faster than it can be read
}

// execute asks for no answer but whether it is done. The kernel's errors of fine are
// those of what is done already.
func (r request) execute(fine ...unix.Errno) error {
	_, err := r.Execute(unix.NETLINK_ROUTE, 0)
	for _, e := range fine {
		if errors.Is(err, e) {
			return nil
		}
	}
	return r.wrap(err)
}

// netnsaFD and netnsaNSID are of <linux/net_namespace.h>.
const netnsaNSID, netnsaFD = 1, 3

// nsid is the number by which this namespace knows another one; -1 for none.
func (c *Conn) nsid(ns *os.File) (int, error) {
	r := c.request("look for the number of network namespace", ns.Name(), unix.RTM_GETNSID, 0, nl.NewRtGenMsg())
	r.addUint32(netnsaFD, int(ns.Fd()))
	answers, err := r.query(unix.RTM_NEWNSID)
	if err != nil || len(answers) == 0 {
		return -1, err
	}
	number, err := parseNSID(answers[0])
	return number, r.wrap(err)
}

func parseNSID(answer []byte) (int, error) {
	number := -1
	err := eachAttr(answer, nl.NewRtGenMsg().Len(), func(a attr) error {
		if a.kind == netnsaNSID {
			return a.int32(&number)
		}
		return nil
	})
	return number, err
}
