// The contestant "nats.go micro": the function hello, JSON in and out.
package main

import (
	"encoding/json"
	"log"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

func hello(request micro.Request) {
	var name string
	if err := json.Unmarshal(request.Data(), &name); err != nil {
		_ = request.Error("400", err.Error(), nil)
		return
	}
	_ = request.RespondJSON("Hello, " + name + "!")
}

func main() {
	nc, err := nats.Connect(os.Getenv("NATS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	_, err = micro.AddService(nc, micro.Config{
		Name:    "hello",
		Version: "0.1.0",
		Endpoint: &micro.EndpointConfig{
			Subject: os.Getenv("BENCH_SUBJECT"),
			Handler: micro.HandlerFunc(hello),
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	select {}
}
