package billing

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Requested meters one request to a store of files, in the line of its operation:
// a store bills by their number. They are no messages of a broker and have no units;
// what they cost stands beside the total, as the link does ([Ledger.PriceStore]).
func (m *Meter) Requested(upstream, operation string) {
	k := m.count(series{upstream: upstream, direction: Link, prefix: operation}, m.options(upstream), 0, nil)
	m.write([]change{{k.messages, 1}})
}

// Store is where requests of one upstream's line go.
type Store struct {
	Region string
	Why    string // they have no price, unless it is empty
}

// PriceStore says where the requests of an upstream's line go. It comes before the
// first bill.
func (l *Ledger) PriceStore(upstream string, s Store) { l.stores[upstream] = s }

// StoresUnknown says why there may be stores that nobody has priced: otherwise those whose
// requests were metered are not used any more.
func (l *Ledger) StoresUnknown(why string) { l.nowhere = why }

// Requests are those of a store by what they cost.
type Requests struct {
	Puts int64 `json:"puts"` // and parts, lists, and what begins and ends an upload of parts
	Gets int64 `json:"gets"` // and all others
	Free int64 `json:"free"` // deletions, and uploads that were given up
}

// add counts requests of one operation.
func (r *Requests) add(operation string, n int64) {
	switch {
	case strings.HasPrefix(operation, "Delete"), operation == "AbortMultipartUpload":
		r.Free += n
	case strings.HasPrefix(operation, "Put"), strings.HasPrefix(operation, "Upload"), strings.HasPrefix(operation, "List"), strings.HasPrefix(operation, "Copy"),
		operation == "CreateMultipartUpload", operation == "CompleteMultipartUpload":
		r.Puts += n
	default:
		r.Gets += n
	}
}

// isRequest reports whether a series counts requests to a store.
func (s series) isRequest() bool {
	return s.direction == Link && s.prefix != "" && s.prefix != ConnectPacket && s.prefix != SubscribePacket
}

// priceRequests sets what the requests of a total cost.
func (l *Ledger) priceRequests(t *Total) {
	if t.Requests == nil {
		return
	}
	store, known := l.stores[t.Name()]
	list := l.part(t.Upstream).prices
	if list == nil {
		list = l.builtIn
	}
	r := list.Regions[store.Region]
	switch {
	case !known:
		store.Why = cmp.Or(l.nowhere, "file_transfer.export does not go there any more")
	case store.Why != "":
	case r.Puts.PerMillion == nil || r.Gets.PerMillion == nil:
		store.Why = fmt.Sprintf("the price list of %s has none of S3 in %s", list.AsOf, store.Region)
	default:
		cost := r.Puts.of(t.Requests.Puts).Plus(r.Gets.of(t.Requests.Gets))
		t.USDRequests, t.USDRequestsRange = cost.String(), cost.Range()
		t.RequestsStatus = slices.MaxFunc([]string{r.Puts.Status, r.Gets.Status}, func(a, b string) int {
			return slices.Index(statuses, a) - slices.Index(statuses, b)
		})
		t.RequestsNote = fmt.Sprintf("prices of S3 Standard in %s as of %s, %s", store.Region, list.AsOf, t.RequestsStatus)
		return
	}
	t.RequestsNote = "no price: " + store.Why
}

// Puts is what so many requests that write to S3 cost in a region, in storage class
// Standard; ok is false when the list has no price for them.
func (p *PriceList) Puts(region string, n int64) (a Amount, ok bool) {
	r := p.Regions[region]
	return r.Puts.of(n), r.Puts.PerMillion != nil
}
