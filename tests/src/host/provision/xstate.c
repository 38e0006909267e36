/*
 * Replaces ptrace(2) in user-mode-linux before 6.13, on a processor with AMX.
 *
 * Such a kernel passes 2696 bytes of register state to PTRACE_SETREGSET: the size on processors without AMX. With AMX,
 * the host requires the complete state of 11008 bytes, and otherwise returns EFAULT (xstateregs_set,
 * https://elixir.bootlin.com/linux/v6.12/source/arch/x86/kernel/fpu/regset.c). The guest then panics with "ptrace set fp
 * regs failed".
 *
 * This function appends the missing bytes. They are zero, because no process in the guest uses AMX: the host permits it
 * only to a process that requests it (ARCH_REQ_XCOMP_PERM), and none does.
 */
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

#define SYS_PTRACE 101L
#define PEEKUSR 3
#define GETREGSET 0x4204
#define SETREGSET 0x4205
#define NT_X86_XSTATE 0x202

extern int *__errno_location(void);

static long ptrace_syscall(long request, long pid, long address, void *data)
{
	register void *fourth __asm__("r10") = data;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(SYS_PTRACE), "D"(request), "S"(pid), "d"(address), "r"(fourth)
			 : "rcx", "r11", "memory");
	return result;
}

/* Reads the complete register state of a process into `area`. Returns its length in bytes, or 0 on failure. */
static size_t read_registers(long pid, unsigned char *area, size_t room)
{
	struct iovec complete = { area, room };

	return ptrace_syscall(GETREGSET, pid, NT_X86_XSTATE, &complete) < 0 ? 0 : complete.iov_len;
}

long ptrace(int request, ...)
{
	static unsigned char area[64 * 1024] __attribute__((aligned(64)));
	static size_t length;
	struct iovec complete;
	va_list rest;
	long pid, address, result, word;
	void *data;

	va_start(rest, request);
	pid = va_arg(rest, int);
	address = va_arg(rest, long);
	data = va_arg(rest, void *);
	va_end(rest);

	/* As in the C library: for PTRACE_PEEK…, the system call stores the word, and this function returns it. */
	if (request > 0 && request <= PEEKUSR)
		data = &word;
	if (request == SETREGSET && address == NT_X86_XSTATE) {
		const struct iovec *part = data;

		/* Only the length is used: it is the same for all processes. */
		if (!length) {
			length = read_registers(pid, area, sizeof(area));
			memset(area, 0, sizeof(area));
		}
		if (part->iov_len < length) {
			memcpy(area, part->iov_base, part->iov_len);
			complete.iov_base = area;
			complete.iov_len = length;
			data = &complete;
		}
	}
	result = ptrace_syscall(request, pid, address, data);
	if (result < 0) {
		*__errno_location() = -result;
		return -1;
	}
	if (request > 0 && request <= PEEKUSR) {
		*__errno_location() = 0;
		return word;
	}
	return result;
}
