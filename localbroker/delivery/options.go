package delivery

import (
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Options configure the delivery of files to devices.
type Options struct {
	Enabled        bool         `koanf:"enabled" doc:"Whether devices are served streams: then $aws/things/THING/streams/... is answered here, on listeners of the profiles aws and aws-edge, and no route takes it."`
	Dir            string       `koanf:"dir" doc:"Folder of the streams that ebbgate streams create defines, and of the cache of those of the cloud."`
	JSONBitmap     string       `koanf:"json_bitmap" enum:"auto,base64,hex" doc:"How a bitmap is written in a request in JSON, about which AWS's documentation contradicts itself. auto takes 0x and hexadecimal, then base64, then hexadecimal; hexadecimal without 0x whose length is a multiple of 4 is taken as base64."`
	Range          string       `koanf:"range" enum:"strict,lenient" doc:"What becomes of a request some of whose blocks lie past the end of the file: strict refuses it as a whole, as AWS does; lenient sends those that are there."`
	BytesPerSecond bridge.Size  `koanf:"bytes_per_second" doc:"Most bytes a second that one device is sent of streams, from 1KiB; 0 means no limit."`
	Window         bridge.Size  `koanf:"window" doc:"Most bytes of streams on their way to one device, 1KiB to 16MiB: what a device has not read, or not acknowledged, waits until then, on the disk."`
	Cloud          CloudOptions `koanf:"cloud" doc:"Streams of AWS IoT Core, fetched once for all devices."`
}

// CloudOptions configure the streams of the cloud.
type CloudOptions struct {
	Upstream  string        `koanf:"upstream" doc:"Upstream whose streams devices may ask for, when there is no stream of that name here; empty: none. It must speak MQTT."`
	Thing     string        `koanf:"thing" doc:"Thing by which the gateway asks for streams; the cloud's policy must let it publish, subscribe and receive below $aws/things/THING/streams. Empty: the gateway's id."`
	CacheSize bridge.Size   `koanf:"cache_size" doc:"Most bytes of the cache, at least 1MiB; what was not used for the longest time makes room. It makes room for messages and files too: on the disk of spool.dir twice spool.headroom stays free, and with file_transfer.enabled 64MiB more than file_transfer.headroom."`
	Recheck   time.Duration `koanf:"recheck" doc:"How long a stream's version is believed before the cloud is asked again, 0s to 24h; 0s asks for every request of a device. While the cloud is away it is believed as long as that lasts."`
	Timeout   time.Duration `koanf:"timeout" doc:"How long the cloud may take for one answer before it is asked again, 1s to 10m. A chunk has 64 KiB: give a thin link the time for a few of them."`
}

// The values of Options.Range.
const (
	rangeStrict  = "strict"
	rangeLenient = "lenient"
)

// DefaultOptions are those of a configuration that says nothing.
func DefaultOptions() Options {
	return Options{
		Dir: "streams", JSONBitmap: bitmapAuto, Range: rangeStrict, BytesPerSecond: 4 << 20, Window: 256 << 10,
		Cloud: CloudOptions{CacheSize: 1 << 30, Recheck: 30 * time.Second, Timeout: 30 * time.Second},
	}
}

// Validate lists what is wrong with the options.
func (o Options) Validate() []bridge.Problem {
	var ps []bridge.Problem
	add := func(wrong bool, path, text, remedy string) {
		if wrong {
			ps = append(ps, bridge.Problem{Path: path, Text: text, Remedy: remedy})
		}
	}
	add(o.Dir == "", "dir", "is empty", "name a folder, such as streams")
	add(o.JSONBitmap != bitmapAuto && o.JSONBitmap != bitmapBase64 && o.JSONBitmap != bitmapHex, "json_bitmap", fmt.Sprintf("is %q", o.JSONBitmap), "write auto, base64 or hex")
	add(o.Range != rangeStrict && o.Range != rangeLenient, "range", fmt.Sprintf("is %q", o.Range), "write strict or lenient")
	add(o.BytesPerSecond != 0 && o.BytesPerSecond < 1<<10, "bytes_per_second", fmt.Sprintf("is %v", o.BytesPerSecond), "write 0 or at least 1KiB")
	add(o.Window < 1<<10 || o.Window > 16<<20, "window", fmt.Sprintf("is %v", o.Window), "write from 1KiB to 16MiB")
	c := o.Cloud
	add(c.Thing != "" && !validThing(c.Thing), "cloud.thing", fmt.Sprintf("is %q", c.Thing), "write 1 to 128 letters, digits, ':', '_' and '-'")
	add(c.CacheSize < 1<<20, "cloud.cache_size", fmt.Sprintf("is %v", c.CacheSize), "write at least 1MiB")
	add(c.Recheck < 0 || c.Recheck > 24*time.Hour, "cloud.recheck", fmt.Sprintf("is %v", c.Recheck), "write from 0s to 24h")
	add(c.Timeout < time.Second || c.Timeout > 10*time.Minute, "cloud.timeout", fmt.Sprintf("is %v", c.Timeout), "write from 1s to 10m")
	return ps
}

func validThing(name string) bool {
	for _, r := range name {
		if r != ':' && !ValidID(string(r)) {
			return false
		}
	}
	return len(name) <= 128
}
