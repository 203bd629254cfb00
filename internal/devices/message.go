package devices

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Message ids are "<series>:<number>". A series is a device, with "!" behind
// it for alarms: they overtake telemetry, so they are an order of their own.
const alarmMark = "!"

const idField = `"id":"`

// metrics are what a device measures, in turn.
var metrics = [...]string{"temperature", "pressure", "vibration"}

// message is one that a device sends until it is acknowledged.
type message struct {
	series  string
	number  uint64
	topic   string
	payload []byte
	tries   int // transmissions so far
}

// telemetry is the device's number-th message, padded to size bytes. It is the
// same bytes every time.
func telemetry(device string, number uint64, size int) *message {
	metric := metrics[number%uint64(len(metrics))]
	value := 20 + float64(number%100)/10
	head := fmt.Sprintf(`{"id":"%s:%d","device":"%s","metric":"%s","value":%.1f`, device, number, device, metric, value)
	return &message{series: device, number: number, topic: "dt/" + device + "/" + metric, payload: pad(head, size)}
}

// alarm is the device's number-th alarm.
func alarm(device string, number uint64) *message {
	series := AlarmSeries(device)
	head := fmt.Sprintf(`{"id":"%s:%d","device":"%s","alarm":"overheat"`, series, number, device)
	return &message{series: series, number: number, topic: "alarm/" + device, payload: pad(head, 0)}
}

// AlarmSeries is the series of a device's alarms, numbered from 1.
func AlarmSeries(device string) string { return device + alarmMark }

// IsAlarm reports whether a series is one of alarms.
func IsAlarm(series string) bool { return strings.HasSuffix(series, alarmMark) }

func pad(head string, size int) []byte {
	const before, after = `,"pad":"`, `"}`
	if room := size - len(head) - len(before) - len(after); room > 0 {
		return []byte(head + before + strings.Repeat("x", room) + after)
	}
	return []byte(head + "}")
}

// Identify reads series and number out of a payload, wrapped in an envelope or
// not. It is cheap, and never wrong about what a device of this package sent.
func Identify(payload []byte) (series string, number uint64, ok bool) {
	for rest := payload; ; {
		at := bytes.Index(rest, []byte(idField))
		if at < 0 {
			return "", 0, false
		}
		rest = rest[at+len(idField):]
		end := bytes.IndexByte(rest, '"')
		if end < 0 {
			return "", 0, false
		}
		if colon := bytes.LastIndexByte(rest[:end], ':'); colon > 0 && end <= 160 {
			if n, err := strconv.ParseUint(string(rest[colon+1:end]), 10, 64); err == nil && n > 0 {
				return string(rest[:colon]), n, true
			}
		}
		rest = rest[end:]
	}
}
