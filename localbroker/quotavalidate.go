package localbroker

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// validateQuotas checks the keys of a struct of quotas against the bounds in
// its tags. There is no value that stands for "none": an upper bound of AWS is
// lifted by writing a larger one.
func validateQuotas(at string, quotas any, ps *problems) {
	v := reflect.ValueOf(quotas)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		path := at + f.Tag.Get("koanf")
		if f.Type.Kind() == reflect.String {
			ps.oneOf(path, v.Field(i).String(), strings.Split(f.Tag.Get("enum"), ",")...)
			continue
		}
		low, high := tagged(f, "min"), tagged(f, "max")
		switch n := v.Field(i).Interface().(type) {
		case bridge.Size:
			if why := f.Tag.Get("why"); why != "" && n > bridge.Size(high) {
				ps.add(path, fmt.Sprintf("%v is above %v: %s", n, bridge.Size(high), why), fmt.Sprintf("write %v or less", bridge.Size(high)))
				continue
			}
			ps.sizeBetween(path, n, bridge.Size(low), bridge.Size(high))
		case time.Duration:
			if n%time.Second != 0 {
				ps.add(path, fmt.Sprintf("%v is not whole seconds, which is what MQTT counts in", n), "write whole seconds, such as 30s")
				continue
			}
			ps.durationBetween(path, n, time.Duration(low)*time.Second, time.Duration(high)*time.Second)
		case int:
			ps.between(path, n, int(low), int(high))
		}
	}
}

// tagged is a bound in a tag; the tags are ours.
func tagged(f reflect.StructField, name string) int64 {
	n, err := strconv.ParseInt(f.Tag.Get(name), 10, 64)
	if err != nil {
		panic("localbroker: " + f.Name + " has no " + name + ": " + err.Error())
	}
	return n
}

// validate checks what the bounds of single keys do not say.
func (q QuotaOptions) validate(at string, ps *problems) {
	validateQuotas(at, q, ps)
	if q.KeepAliveMin > q.KeepAliveMax {
		ps.add(at+"keep_alive_min", fmt.Sprintf("%v is above keep_alive_max, %v", q.KeepAliveMin, q.KeepAliveMax), "lower it, or raise keep_alive_max")
	}
	if q.MessageExpiryMin > q.MessageExpiryMax {
		ps.add(at+"message_expiry_min", fmt.Sprintf("%v is above message_expiry_max, %v", q.MessageExpiryMin, q.MessageExpiryMax), "lower it, or raise message_expiry_max")
	}
	if q.PayloadSize > q.PacketSize {
		ps.add(at+"payload_size", fmt.Sprintf("%v is above packet_size, %v: no such payload could come", q.PayloadSize, q.PacketSize), "lower it, or raise packet_size")
	}
	if q.SmallestPacketSize > q.PacketSize {
		ps.add(at+"smallest_packet_size", fmt.Sprintf("%v is above packet_size, %v", q.SmallestPacketSize, q.PacketSize), "lower it, or raise packet_size")
	}
}

// validateReserved checks the names of reserved_extra.
func validateReserved(at string, names []string, ps *problems) {
	for i, name := range names {
		path := fmt.Sprintf("%sreserved_extra[%d]", at, i)
		switch {
		case len(name) < 2 || len(name) > 64 || name[0] != '$' || strings.ContainsAny(name, "/+#\x00"):
			ps.add(path, fmt.Sprintf("%q is not the first level of a reserved topic", name), "write $ and a name of up to 63 characters without a slash or wildcard, such as $file")
		case name == "$aws" || name == "$share":
			ps.add(path, fmt.Sprintf("%q is MQTT's or AWS's own", name), "remove it: what AWS allows below it is allowed already")
		}
	}
}
