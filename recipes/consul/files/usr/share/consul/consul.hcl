# Seeded once into /etc/consul.d; see Consul's reference of agent configuration.
data_dir = "/var/lib/consul"
