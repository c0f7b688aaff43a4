# SPDX-License-Identifier: Apache-2.0
# What scenarios and the lab's commands can use inside the guest.

# The device of a virtio-serial port, by its name.
port() {
    for _ in $(seq 50); do
        for lab_name in /sys/class/virtio-ports/*/name; do
            if [ "$(cat "$lab_name" 2> /dev/null)" = "$1" ]; then
                lab_node=$(dirname "$lab_name")
                echo "/dev/${lab_node##*/}"
                return
            fi
        done
        [ "$1" = org.qemu.guest_agent.0 ] && return 1
        sleep 0.1
    done
    return 1
}

# Wait until the disks that the kernel sees have stopped changing.
settle() {
    lab_before=-
    lab_now=$(ls /sys/block)
    while [ "$lab_now" != "$lab_before" ]; do
        sleep 0.2
        lab_before=$lab_now
        lab_now=$(ls /sys/block)
    done
}

# What real udev's scsi_id puts into ID_SERIAL: of page 0x83 the NAA designator if there is one,
# else the vendor-specific one behind a "0", the vendor and the model.
scsi_serial() {
    [ -f "$1/vpd_pg83" ] || return 0
    lab_page=$(xxd -p -c 9999 < "$1/vpd_pg83")
    lab_page=${lab_page#????????}
    lab_own=''
    while [ ${#lab_page} -ge 8 ]; do
        lab_set=$(printf %s "$lab_page" | cut -c2)
        lab_type=$(printf %s "$lab_page" | cut -c3-4)
        lab_length=$((2 * 0x$(printf %s "$lab_page" | cut -c7-8)))
        lab_data=$(printf %s "$lab_page" | cut -c9-$((8 + lab_length)))
        lab_page=$(printf %s "$lab_page" | cut -c$((9 + lab_length))-)
        case $lab_type in
            03) echo "3$lab_data"; return ;;
            00) [ "$lab_set" = 2 ] && lab_own=$(printf %s "$lab_data" | xxd -r -p) ;;
        esac
    done
    [ -z "$lab_own" ] && return 0
    printf '0%-8.8s%-16.16s%s' "$(cat "$1/vendor")" "$(cat "$1/model")" "$lab_own" |
        tr -s ' ' _
}

# The device of the SCSI disk TARGET:UNIT.
scsi_disk() {
    for lab_disk in /sys/block/sd*; do
        case $(basename "$(readlink -f "$lab_disk/device")") in
            *:*:"$1") echo "/dev/${lab_disk##*/}" ;;
        esac
    done
}

# The database that udev keeps, from which the real agent takes its serials.
udev() {
    [ -e /run/lab-no-udev ] && return 0
    for lab_disk in /sys/block/vd* /sys/block/sd* /sys/block/sr*; do
        [ -d "$lab_disk" ] || continue
        case ${lab_disk##*/} in
            vd*) lab_serial=$(cat "$lab_disk/serial") ;;
            *) lab_serial=$(scsi_serial "$lab_disk/device") ;;
        esac
        for lab_node in "$lab_disk" "$lab_disk"/*[0-9]; do
            [ -f "$lab_node/dev" ] || continue
            {
                echo I:1
                [ -z "$lab_serial" ] || echo "E:ID_SERIAL=$lab_serial"
            } > "/run/udev/data/b$(cat "$lab_node/dev")"
        done
    done
}

# The real agent, as a distribution starts it: agent [OPTION...].
agent() {
    lab_port=$(port org.qemu.guest_agent.0) || return 0
    mkdir -p /dev/virtio-ports
    ln -sf "$lab_port" /dev/virtio-ports/org.qemu.guest_agent.0
    qemu-ga -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0 -t /run \
        -l /run/qemu-ga.log "$@" > /run/qemu-ga.out 2>&1 < /dev/null &
    echo $! > /run/agent.pid
}

# Another program in its place: agent_script FILE [ARGUMENT...], on descriptors 0 and 1.
agent_script() {
    : > /run/lab-no-agent
    lab_port=$(port org.qemu.guest_agent.0)
    setsid sh "$@" <> "$lab_port" >&0 2> /run/agent.log &
    echo $! > /run/agent.pid
}

# End whatever answers, and what it has started.
agent_end() {
    kill -9 "-$(cat /run/agent.pid)" 2> /dev/null || kill -9 "$(cat /run/agent.pid)"
}

# What the kernel's statfs says of every mounted file system with a size, one line each:
# TRUTH <mountpoint> <type> <source> <bytes> <used bytes> <block size>
truth() {
    sync
    statfs | tee /dev/console
}

# The same, on the output alone.
statfs() {
    while read -r lab_source lab_point lab_type _; do
        case $lab_type in proc|sysfs|devtmpfs|devpts|rootfs) continue ;; esac
        # shellcheck disable=SC2046
        set -- $(stat -f -c '%S %b %f' "$(printf '%b' "$lab_point")")
        [ "${2:-0}" -gt 0 ] || continue
        echo "TRUTH $lab_point $lab_type $lab_source $(($1 * $2)) $(($1 * ($2 - $3))) $1"
    done < /proc/mounts
}

# mnt TYPE DEVICE DIRECTORY. The kernel must not write inode tables while the lab counts blocks.
mnt() {
    mkdir -p "$3"
    case $1 in
        ext4) mount -t ext4 -o noinit_itable "$2" "$3" ;;
        *) mount -t "$1" "$2" "$3" ;;
    esac
}

# fill FILE MEBIBYTES: incompressible, and written to the disk when it returns. The random bytes
# are made once: an emulated processor is slow at them.
fill() {
    [ -f /run/lab-noise ] || dd if=/dev/urandom of=/run/lab-noise bs=1M count=1 2> /dev/null
    # shellcheck disable=SC2046
    cat $(yes /run/lab-noise | head -n "$2") > "$1"
    sync
}

# scatter DIRECTORY COUNT: files of one block each, one after another.
scatter() {
    awk -v "directory=$1" -v "count=$2" 'BEGIN {
        for (n = 0; n < count; n++) {
            file = sprintf("%s/f%04x", directory, n)
            printf "%4096s", n > file
            close(file)
        }
    }'
    sync
}

# One line of base64 is a command; one line answers: its output and its status, in base64.
serve() {
    while :; do
        exec 3<> "$1"
        while read -r lab_line <&3; do
            printf %s "$lab_line" | base64 -d > /run/lab-command
            # Through a file, not a pipe, which a daemon started by the command would keep open.
            (set -e; . /run/lab-command) > /run/lab-output 2>&1 < /dev/null
            echo "status $?" >> /run/lab-output
            base64 -w 0 /run/lab-output > /run/lab-answer
            echo >> /run/lab-answer
            cat /run/lab-answer >&3
        done
        exec 3>&-
        sleep 0.1
    done
}
