package billing

import (
	"encoding/json"
	"net/http"
	"time"
)

// ServeHTTP answers GET with the [Bill] of today as JSON, or with
// "?period=month" of this month.
func (l *Ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	span := Today
	switch r.URL.Query().Get("period") {
	case "", "today":
	case "month":
		span = Month
	default:
		http.Error(w, "period must be today or month", http.StatusBadRequest)
		return
	}
	bill, err := l.Bill(span(time.Now()))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(bill) // the reader is gone: nobody to tell
}
