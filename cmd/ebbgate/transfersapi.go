package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/telemetry"
	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// transfersPath begins the paths of the files that devices send.
const transfersPath = "/api/v1/transfers"

// transfersAPI is files from devices over the admin port: our own API, and EMQX's
// for tools that know it. The port is for this machine only and has no login, so
// neither has one.
type transfersAPI struct {
	service *upload.Service // nil: file transfer is not enabled
	watches watchPlaces
	prices  *transferPrices // nil: bills are not told
}

func (g *gateway) transferRoutes() telemetry.Routes {
	api := &transfersAPI{}
	o := g.cfg.FileTransfer
	if g.files != nil {
		api.service, api.prices = g.files.service, pricesOf(g.cfg)
	}
	exporter := map[string]any{o.Export.To: map[string]any{"enable": true}}
	if o.Export.To == "folder" { // EMQX calls it local
		exporter = map[string]any{"local": map[string]any{"enable": true, "root": o.Export.Folder.Dir}}
	}
	out := telemetry.Routes{
		"GET " + transfersPath:                                 api.with(api.list),
		"GET " + transfersPath + "/{client}/{file}":            api.with(api.show),
		"GET " + transfersPath + "/{client}/{file}/content":    api.with(api.content),
		"POST " + transfersPath + "/{client}/{file}/retry":     api.with(api.retry),
		"DELETE " + transfersPath + "/{client}/{file}":         api.with(api.giveUp),
		"DELETE " + transfersPath + "/{client}/{file}/content": api.with(api.remove),
	}
	emqx := &upload.EMQX{Service: api.service, Node: "ebbgate@" + g.cfg.Gateway.ID, Config: upload.EMQXConfig(o.Upload(), exporter)}
	for pattern, h := range emqx.Routes() {
		out[pattern] = h
	}
	return out
}

// with answers with the error of a handler, which has written nothing then.
func (a *transfersAPI) with(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.service == nil {
			http.Error(w, "this gateway takes no files: set file_transfer.enabled", http.StatusServiceUnavailable)
			return
		}
		err := h(w, r)
		status := http.StatusInternalServerError
		_, notNow := errors.AsType[*upload.StateError](err)
		_, badly := errors.AsType[*askedBadly](err)
		switch {
		case err == nil:
			return
		case errors.Is(err, upload.ErrUnknown):
			status = http.StatusNotFound
		case errors.Is(err, upload.ErrTaken):
			status = http.StatusGone
		case notNow:
			status = http.StatusConflict
		case badly:
			status = http.StatusBadRequest
		case errors.Is(err, errors.ErrUnsupported):
			status = http.StatusNotImplemented
		case bridge.OfTarget(err): // it is away, or refuses us
			status = http.StatusServiceUnavailable
		}
		http.Error(w, err.Error(), status)
	})
}

// askedBadly is a request that makes no sense.
type askedBadly struct{ text string }

// Error is the text.
func (e *askedBadly) Error() string { return e.text }

// transfersPage is a page of the list: first those that run, then those exported.
type transfersPage struct {
	Transfers []upload.Transfer `json:"transfers"`
	Following string            `json:"following,omitempty"` // asks for the next page
}

// listedPage is how many transfers a page has when nobody says.
const listedPage = 100

// The values of the parameter state.
const (
	stateRunning  = "running"
	stateExported = "exported"
)

// list answers with a page, or with a stream of changes for who accepts that.
func (a *transfersAPI) list(w http.ResponseWriter, r *http.Request) error {
	if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		return a.watches.watch(w, r, a.service)
	}
	q := r.URL.Query()
	limit, state := listedPage, q.Get("state")
	if q.Has("limit") {
		n, err := strconv.Atoi(q.Get("limit"))
		if err != nil || n < 1 || n > upload.MostListed {
			return &askedBadly{"limit: write a number from 1 to " + strconv.Itoa(upload.MostListed)}
		}
		limit = n
	}
	if state != "" && state != stateRunning && state != stateExported {
		return &askedBadly{"state: write running or exported, or leave it out for both"}
	}
	part, key, ok := parseFollowing(q.Get("following"), state)
	if !ok {
		return &askedBadly{"following: take it from the page before"}
	}
	page := transfersPage{Transfers: []upload.Transfer{}}
	if part == stateRunning {
		list, next := a.service.Running(key, limit)
		page.Transfers = append(page.Transfers, list...)
		if next != "" {
			page.Following = following(stateRunning, next)
			telemetry.WriteJSON(w, page)
			return nil
		}
		key = ""
	}
	if rest := limit - len(page.Transfers); state != stateRunning {
		if rest == 0 { // the next page begins with them
			page.Following = following(stateExported, "")
			telemetry.WriteJSON(w, page)
			return nil
		}
		list, next, err := a.service.Exported(key, rest)
		if err != nil {
			return err
		}
		page.Transfers = append(stillRunning(page.Transfers, list), list...)
		if next != "" {
			page.Following = following(stateExported, next)
		}
	}
	telemetry.WriteJSON(w, page)
	return nil
}

// stillRunning leaves those out of a list of transfers that run which have been
// exported since it was made: an open one of the same id stays.
func stillRunning(running, exported []upload.Transfer) []upload.Transfer {
	return slices.DeleteFunc(running, func(r upload.Transfer) bool {
		return r.SHA256 != "" && slices.ContainsFunc(exported, func(e upload.Transfer) bool { return e.ClientID == r.ClientID && e.FileID == r.FileID })
	})
}

// following is where a list goes on: in a part of it, behind a key.
func following(part, key string) string {
	return part[:1] + base64.RawURLEncoding.EncodeToString([]byte(key))
}

func parseFollowing(text, state string) (part, key string, ok bool) {
	if text == "" {
		if state == stateExported {
			return stateExported, "", true
		}
		return stateRunning, "", true
	}
	b, err := base64.RawURLEncoding.DecodeString(text[1:])
	for _, part := range []string{stateRunning, stateExported} {
		if err == nil && text[0] == part[0] && (state == "" || state == part) {
			return part, string(b), true
		}
	}
	return "", "", false
}

func ids(r *http.Request) (client, file string) { return r.PathValue("client"), r.PathValue("file") }

func (a *transfersAPI) show(w http.ResponseWriter, r *http.Request) error {
	all, err := a.service.Show(ids(r))
	if err == nil && len(all) == 0 {
		err = upload.ErrUnknown
	}
	if err != nil {
		return err
	}
	out := make([]transferDetail, len(all))
	for i := range all {
		out[i].Detail = all[i]
		if a.prices != nil {
			out[i].Bill = a.prices.bill(&all[i])
		}
	}
	telemetry.WriteJSON(w, out)
	return nil
}

func (a *transfersAPI) content(w http.ResponseWriter, r *http.Request) error {
	client, file := ids(r)
	return a.service.ServeContent(w, r, client, file)
}

func (a *transfersAPI) retry(w http.ResponseWriter, r *http.Request) error {
	err := a.service.Retry(ids(r))
	if err == nil {
		w.WriteHeader(http.StatusAccepted)
	}
	return err
}

func (a *transfersAPI) giveUp(w http.ResponseWriter, r *http.Request) error {
	client, file := ids(r)
	return done(w, a.service.GiveUp(r.Context(), client, file))
}

func (a *transfersAPI) remove(w http.ResponseWriter, r *http.Request) error {
	client, file := ids(r)
	return done(w, a.service.Remove(r.Context(), client, file))
}

func done(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// writeEvent is one event of a stream.
func writeEvent(w http.ResponseWriter, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write([]byte("event: " + name + "\ndata: " + string(data) + "\n\n"))
	return err
}
