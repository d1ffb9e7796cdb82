// Size of the receive ring, for the assembly as well: 2^BITS bytes.
#pragma once

#define TBFT_RECEIVE_RING_BITS 12
