package rest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// bodyRate is the slowest that a body may come, in bytes a second: 128 KiB have
// 32 seconds beside the patience for its beginning.
const bodyRate = 4 << 10

// Handler answers the requests of one connection. A body must come within
// Patience and a second for every 4 KiB of it.
type Handler struct {
	caller Caller
	opts   Options
}

// New makes the handler of a connection.
func New(c Caller, o Options) *Handler { return &Handler{c, o} }

// operation is one of AWS's.
type operation struct {
	name         string
	unauthorized bool // a denial is documented as 401; the newer operations have 403
	do           func(*exchange) (any, error)
}

var (
	publish           = &operation{"Publish", true, (*exchange).publish}
	getRetained       = &operation{"GetRetainedMessage", true, (*exchange).getRetained}
	listRetained      = &operation{"ListRetainedMessages", true, (*exchange).listRetained}
	deleteConnection  = &operation{"DeleteConnection", false, (*exchange).deleteConnection}
	getConnection     = &operation{"GetConnection", false, (*exchange).getConnection}
	listSubscriptions = &operation{"ListSubscriptions", false, (*exchange).listSubscriptions}
	sendDirect        = &operation{"SendDirectMessage", false, (*exchange).sendDirect}
)

// exchange is one request and its answer.
type exchange struct {
	*Handler
	w     http.ResponseWriter
	r     *http.Request
	trace string
	op    *operation // nil: none was asked for

	target string // topic or client id
	query  url.Values
}

// ServeHTTP implements http.Handler. A panic is a 500 and the end of the
// connection.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{Handler: h, w: w, r: r, trace: uuid.NewString()}
	defer func() {
		if v := recover(); v != nil {
			h.caller.Panicked(v)
			w.Header().Set("Connection", "close")
			x.answer(nil, &Refusal{http.StatusInternalServerError, ""})
		}
	}()
	x.answer(x.do())
}

func (x *exchange) do() (any, error) {
	x.deadline(x.opts.Patience + x.opts.Write)
	if err := x.caller.Admit(x.r); err != nil {
		return nil, err
	}
	if err := x.route(); err != nil {
		return nil, err
	}
	var err error
	if x.query, err = url.ParseQuery(x.r.URL.RawQuery); err != nil {
		return nil, invalid("the query is not well-formed: " + err.Error())
	}
	return x.op.do(x)
}

// route finds the operation and what it is about.
func (x *exchange) route() error {
	path := x.r.URL.EscapedPath()
	methods := map[string]*operation{}
	var target string
	switch {
	case path == "/retainedMessage":
		methods[http.MethodGet] = listRetained
	case strings.HasPrefix(path, "/retainedMessage/"):
		methods[http.MethodGet], target = getRetained, path[len("/retainedMessage/"):]
	case strings.HasPrefix(path, "/topics/"):
		methods[http.MethodPost], target = publish, path[len("/topics/"):]
	case strings.HasPrefix(path, "/connections/"):
		var rest string
		target, rest, _ = strings.Cut(path[len("/connections/"):], "/")
		switch rest {
		case "":
			methods[http.MethodDelete], methods[http.MethodGet] = deleteConnection, getConnection
		case "messages":
			methods[http.MethodPost] = sendDirect
		case "subscriptions":
			methods[http.MethodGet] = listSubscriptions
		}
	}
	if len(methods) == 0 {
		return &Refusal{http.StatusNotFound, "there is no such path; /topics/TOPIC, /retainedMessage and /connections/CLIENT are"}
	}
	if x.op = methods[x.r.Method]; x.op == nil { // B202: nothing but publishing on a topic
		for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			if methods[m] != nil {
				x.w.Header().Add("Allow", m)
			}
		}
		return &Refusal{http.StatusMethodNotAllowed, x.r.Method + " is not for this path"}
	}
	var err error
	if x.target, err = url.PathUnescape(target); err != nil || !text(x.target) {
		return invalid("the path is not valid UTF-8, or has a zero in it")
	}
	return nil
}

// text reports whether s can stand in an MQTT packet [MQTT-1.5.4-1]
// [MQTT-1.5.4-2].
func text(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// answer writes the one answer.
func (x *exchange) answer(body any, err error) {
	status, header := http.StatusOK, x.w.Header()
	if err != nil {
		no := refusal(err, x.op, x.opts)
		status, body = no.Status, message{no.text(x.opts), x.trace}
		if name := exceptions[status]; name != "" {
			header.Set("x-amzn-ErrorType", name)
		}
		if after := no.retryAfter(); after != "" {
			header.Set("Retry-After", after)
		}
	}
	header.Set("x-amzn-RequestId", x.trace)
	header.Set("Cache-Control", "no-store")
	name := ""
	if x.op != nil {
		name = x.op.name
	}
	x.caller.Served(name, status, err)
	x.deadline(x.opts.Write)
	if body == nil {
		header.Set("Content-Length", "0")
		x.w.WriteHeader(status)
		return
	}
	header.Set("Content-Type", "application/json")
	x.w.WriteHeader(status)
	enc := json.NewEncoder(x.w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // fails when the peer has gone
}

// message is the body of answers that carry nothing else.
type message struct {
	Message string `json:"message"`
	TraceID string `json:"traceId"`
}

// deadline bounds what is written from now on.
func (x *exchange) deadline(d time.Duration) {
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(d)) // fails when the peer has gone
}
