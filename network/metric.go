package network

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
)

// Metric is a route's priority (RTA_PRIORITY; "metric" of ip-route(8)), and none of
// RTA_METRICS: a decimal number, of which the kernel takes the lowest. In JSON it is a text; a number is read, too.
type Metric string

// UnmarshalJSON reads a text or a number.
func (m *Metric) UnmarshalJSON(data []byte) error {
	var number json.Number
	if data[0] != '"' && json.Unmarshal(data, &number) == nil {
		*m = Metric(number)
		return nil
	}
	return json.Unmarshal(data, (*string)(m))
}

// defaultIPv6Metric is IP6_RT_PRIO_USER of the kernel: what a route of IPv6 gets that
// is given none, or 0.
const defaultIPv6Metric = 1024

// value is the metric of a route to dest.
func (m Metric) value(dest netip.Addr) (uint32, error) {
	var n uint64
	if m != "" {
		var err error
		if n, err = strconv.ParseUint(string(m), 10, 32); err != nil {
			return 0, fmt.Errorf("failed to parse metric %q of route rule", string(m))
		}
	}
	if n == 0 && dest.Is6() {
		n = defaultIPv6Metric
	}
	return uint32(n), nil
}

// sameMetric tells whether the route has this metric, in whatever spelling.
func (r Route) sameMetric(m Metric) bool {
	p, err := r.parse()
	if err != nil {
		return r.Metric == m
	}
	n, err := m.value(p.dest.Addr())
	return err == nil && n == p.metric
}
