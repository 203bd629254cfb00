package billing

// Counts is what crossed.
type Counts struct {
	Units     int64 `json:"units"`           // metered messages, acknowledged
	Uncertain int64 `json:"uncertain_units"` // metered messages, sent with an unknown fate
	Messages  int64 `json:"messages"`        // MQTT messages, acknowledged
	Wire      int64 `json:"wire_bytes"`      // packets' bytes, without TLS and TCP
	Bytes     int64 `json:"metered_bytes"`   // what the units were made of, but for copies and answers
	Retained  int64 `json:"retained_units"`  // of Units: retained copies (M10)
	Acks      int64 `json:"ack_units"`       // of Units: PUBACKs of ours (M08)
	Answers   int64 `json:"answer_units"`    // of Units: answers to our requests over HTTPS (M18)
	Other     int64 `json:"other_reading"`   // units more, or less than 0 fewer, if "5 KB" is the other number (M03)
	Basic     int64 `json:"basic_ingest"`    // units that Basic Ingest's rules processed; the messages were free (M16)
	Shadow    int64 `json:"shadow_ops"`      // shadow operations (M21)
	Throttled int64 `json:"throttled"`       // messages that the cloud refused, and were not metered (M26)
	Minutes   int64 `json:"minutes"`         // of connectivity (M01)
	Socket    int64 `json:"socket_bytes"`    // at the sockets: TLS, frames, pings and attempts besides; not of one device or topic

	basicMore int64 // of Basic: units beyond one for each message; ledgers of earlier versions do not tell

	fewer int64 // units fewer by 5,120 bytes, as the ledger has it; see reread
}

func (c *Counts) add(o Counts) {
	c.Units += o.Units
	c.Uncertain += o.Uncertain
	c.Messages += o.Messages
	c.Wire += o.Wire
	c.Bytes += o.Bytes
	c.Retained += o.Retained
	c.Acks += o.Acks
	c.Answers += o.Answers
	c.Other += o.Other
	c.Basic += o.Basic
	c.basicMore += o.basicMore
	c.Shadow += o.Shadow
	c.Throttled += o.Throttled
	c.Minutes += o.Minutes
	c.Socket += o.Socket
}

// set puts a counter of the ledger into its field.
func (c *Counts) set(kind byte, n int64) {
	switch kind {
	case kindUnits:
		c.Units = n
	case kindUncertain:
		c.Uncertain = n
	case kindMessages:
		c.Messages = n
	case kindWire:
		c.Wire = n
	case kindBytes:
		c.Bytes = n
	case kindRetained:
		c.Retained = n
	case kindAcks:
		c.Acks = n
	case kindAnswers:
		c.Answers = n
	case kindOther:
		if c.Other = max(n, 0); n < 0 { // as ledgers of earlier versions have it
			c.fewer -= n
		}
	case kindFewer:
		c.fewer += n
	case kindBasic:
		c.Basic = n
	case kindBasicMore:
		c.basicMore = n
	case kindShadow:
		c.Shadow = n
	case kindThrottled:
		c.Throttled = n
	case kindMinutes:
		c.Minutes = n
	case kindSocket:
		c.Socket = n
	}
}

// reread tells counts of the ledger by the size of a metered message that is set now.
// Each was counted by the size of its time, and the ledger has what those by 5,120 would
// be more by 5,000, and those by 5,000 fewer by 5,120: all of them are known by either,
// whenever it was changed. By any other size they stay as they were counted.
func (c *Counts) reread(unit int64) {
	switch more := c.Other; unit {
	case DefaultUnit:
		c.Units -= c.fewer
		c.Other = more + c.fewer
	case decimalUnit:
		c.Units += more
		c.Other = -more - c.fewer
	default:
		c.Other = more - c.fewer
	}
	c.fewer = 0
}

// Fill is how many bytes a metered message of the publishes held on average, and
// false when there was none.
func (c Counts) Fill() (bytes int64, ok bool) {
	n := c.Units - c.Retained - c.Acks - c.Answers
	if n <= 0 || c.Bytes <= 0 {
		return 0, false
	}
	return c.Bytes / n, true
}
