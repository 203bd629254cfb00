package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Control is a small HTTP API over a gate, what arrived behind it and what is
// delivered, for a sandbox that is a process of its own. Serve it on loopback only.
//
//	GET  /report                    counts, gate, present fault
//	GET  /latest                    messages without a known id
//	POST /cut                       reset every connection, once
//	POST /blackhole                 keep every byte, until restore
//	POST /refuse                    reset new connections, until restore
//	POST /slow?latency=&rate=       delay and bytes per second, until restore
//	POST /restore
//	GET  /streams                   their versions, files, and what was sent
//	PUT  /streams/ID                the next version of one, whose file 0 is the body
//	DELETE /streams/ID
//
// A browser that was lured here can do nothing: what changes something needs
// POST with no Origin of another site, and every request a host on loopback.
type Control struct {
	gate     *Gate
	arrivals *Arrivals
	streams  *Streams
	handler  http.Handler
}

// NewControl serves the gate of a cloud, its arrivals and its streams.
func NewControl(cloud *Cloud) *Control {
	c := &Control{gate: cloud.gate, arrivals: cloud.arrivals, streams: cloud.streams}
	c.handler = http.NewCrossOriginProtection().Handler(c.routes())
	return c
}

// Report is what GET /report answers.
type Report struct {
	Counts
	Gate  GateStats `json:"gate"`
	Fault Fault     `json:"fault"`
}

// ServeHTTP implements [http.Handler].
func (c *Control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		http.Error(w, "this port serves only 127.0.0.1 and localhost", http.StatusForbidden)
		return
	}
	c.handler.ServeHTTP(w, r)
}

func (c *Control) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, Report{c.arrivals.Counts(), c.gate.Stats(), c.gate.Fault()})
	})
	mux.HandleFunc("GET /latest", func(w http.ResponseWriter, _ *http.Request) { reply(w, c.arrivals.Latest()) })
	mux.HandleFunc("POST /cut", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]int{"reset": c.gate.Cut()})
	})
	for path, fault := range map[string]Fault{"blackhole": {BlackHole: true}, "refuse": {Refuse: true}, "restore": {}} {
		mux.HandleFunc("POST /"+path, func(w http.ResponseWriter, _ *http.Request) { c.set(w, fault) })
	}
	mux.HandleFunc("POST /slow", func(w http.ResponseWriter, r *http.Request) {
		fault, err := slowness(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.set(w, fault)
	})
	mux.HandleFunc("GET /streams", func(w http.ResponseWriter, _ *http.Request) { reply(w, c.streams.States()) })
	mux.HandleFunc("PUT /streams/{id}", c.putStream)
	mux.HandleFunc("DELETE /streams/{id}", func(w http.ResponseWriter, r *http.Request) {
		if !c.streams.Delete(r.PathValue("id")) {
			http.Error(w, "there is no such stream", http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// putStream takes a file as the next version of a stream.
func (c *Control) putStream(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !StreamID(id) {
		http.Error(w, streamIDs, http.StatusBadRequest)
		return
	}
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, LargestStreamFile))
	if err != nil {
		http.Error(w, fmt.Sprintf("the file: %v; AWS takes %d bytes", err, LargestStreamFile), http.StatusRequestEntityTooLarge)
		return
	}
	reply(w, map[string]int{"version": c.streams.Put(id, "", map[int][]byte{0: content})})
}

func (c *Control) set(w http.ResponseWriter, f Fault) {
	c.gate.Set(f)
	reply(w, f)
}

func slowness(r *http.Request) (f Fault, err error) {
	q := r.URL.Query()
	if text := q.Get("latency"); text != "" {
		if f.Latency, err = time.ParseDuration(text); err != nil || f.Latency < 0 || f.Latency > time.Minute {
			return f, fmt.Errorf("latency %q: write a duration up to 1m, such as 300ms", text)
		}
	}
	if text := q.Get("rate"); text != "" {
		if f.BytesPerSecond, err = strconv.Atoi(text); err != nil || f.BytesPerSecond < 1 {
			return f, fmt.Errorf("rate %q: write bytes per second, 1 or more", text)
		}
	}
	return f, nil
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the reader is gone: nobody to tell
}
