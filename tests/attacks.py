"""Every attack of the project's list, by number, with the tests that make it; ``test_attacks.py`` checks that they exist."""

from __future__ import annotations

REGISTER: dict[int, tuple[str, list[str]]] = {
    1: (
        "key with trailing space, newline, CRLF",
        [
            "integration/test_planted_key.py::test_a_key_that_was_pasted_with_dirt_around_it_is_saved_without",
            "integration/test_planted_key.py::test_a_key_with_dirt_inside_is_refused_before_anything_is_sent",
        ],
    ),
    2: (
        "zero-width, homoglyph, non-ASCII characters in a key",
        [
            "integration/test_planted_key.py::test_a_key_with_dirt_inside_is_refused_before_anything_is_sent",
            "unit/llm/test_key_format.py::test_no_sentence_repeats_what_was_pasted",
        ],
    ),
    3: (
        "ciphertext swapped between rows, projects, providers",
        [
            "integration/vault/test_keys_tampered.py::test_a_row_that_was_tampered_with_is_locked_and_never_turns_into_the_platforms_key",
            "integration/vault/test_keys_tampered.py::test_a_call_fails_with_the_reason_and_nothing_is_spent_on_the_platform_key",
            "integration/vault/test_keys_tampered.py::test_a_key_that_is_locked_again_after_it_was_mended_is_audited_again",
        ],
    ),
    4: (
        "master key replaced",
        [
            "integration/vault/test_keys.py::test_without_its_master_key_a_key_is_locked_and_nothing_is_overwritten",
            "integration/vault/test_keys_tampered.py::test_a_missing_master_key_stops_calls_in_the_same_way",
        ],
    ),
    5: (
        "address, query parameter or widget state names another project",
        [
            "integration/web/test_attacks_server.py::test_neither_the_address_nor_a_forged_choice_shows_another_project",
            "integration/access/test_permissions.py::test_in_another_project_the_highest_role_of_ones_own_does_nothing",
            "integration/test_attacks.py::test_what_a_page_keeps_for_one_person_is_not_shown_to_the_next",
        ],
    ),
    6: (
        "manager or analyst triggers a save",
        [
            "integration/access/test_permissions.py::test_in_the_own_project_each_role_can_do_exactly_its_part",
            "integration/web/test_attacks_server.py::test_the_buttons_of_a_lead_do_nothing_in_the_hands_of_an_analyst",
            "browser/test_sign_in.py::test_a_role_lowered_while_a_dialog_is_open_saves_no_key",
        ],
    ),
    7: (
        "hostile OPENAI_*, ANTHROPIC_*, GOOGLE_*, proxy, certificate variables",
        [
            "integration/llm/test_validation.py::test_a_hostile_environment_changes_neither_address_nor_key_nor_headers",
            "integration/llm/test_validation.py::test_the_certificate_authority_of_the_environment_is_not",
            "integration/llm/test_each_provider.py::test_nothing_of_the_environment_reaches_a_request",
        ],
    ),
    8: (
        "key revoked in mid-run",
        [
            "integration/llm/test_client.py::test_a_failed_key_stops_the_call_unless_the_project_chose_otherwise",
            "integration/ui/test_pages_run_logs.py::test_a_refused_key_shows_the_providers_words_status_code_type_and_request_id",
        ],
    ),
    9: (
        "project key cannot be opened",
        [
            "integration/vault/test_keys_tampered.py::test_a_call_fails_with_the_reason_and_nothing_is_spent_on_the_platform_key",
            "integration/vault/test_keys_tampered.py::test_a_project_that_chose_to_fall_back_does_so_where_a_master_key_is_gone_and_the_run_log_says_why",
        ],
    ),
    10: (
        "upstream echoes the key",
        [
            "integration/test_planted_key.py::test_calls_that_go_right_and_wrong_leave_no_more_than_the_last_four",
            "unit/llm/test_error_answers.py::test_the_key_is_hidden_before_the_text_is_cut",
            "integration/llm/test_hostile_upstream.py::test_no_failure_carries_the_key",
        ],
    ),
    11: (
        "kill -9 during rotation, save, settle, import, export",
        [
            "integration/vault/test_master_kill.py::test_killed_after_any_statement_every_key_is_readable_and_the_next_run_ends_the_work",
            "integration/vault/test_keys_kill.py::test_killed_after_any_statement_of_a_first_save_there_is_the_whole_key_or_none",
            "integration/caps/test_caps_kill.py::test_of_killed_workers_each_call_is_counted_once",
            "integration/cli/test_cli.py::test_an_import_that_is_killed_leaves_nothing_and_goes_in_the_next_time",
            "integration/test_attacks.py::test_an_export_that_is_killed_leaves_the_file_of_before_and_goes_out_the_next_time",
        ],
    ),
    12: (
        "two tabs replace at once; double click",
        [
            "integration/vault/test_keys_race.py::test_of_two_processes_that_replace_at_once_one_wins_and_the_other_is_told",
            "browser/test_key_life.py::test_of_two_tabs_one_replaces_and_the_other_is_told",
            "browser/test_key_life.py::test_a_double_click_saves_once",
        ],
    ),
    13: (
        "failed validation during a replacement",
        [
            "integration/test_planted_key.py::test_a_key_that_is_not_accepted_is_nowhere_and_the_old_one_serves_on",
        ],
    ),
    14: (
        "database or master key file readable by others",
        [
            "integration/db/test_database.py::test_every_file_of_the_database_is_for_its_owner_alone_whatever_the_umask",
            "unit/vault/test_master_keys.py::test_a_file_that_others_may_touch_is_refused",
            "integration/cli/test_cli.py::test_the_doctor_names_what_is_wrong_with_settings_and_files",
        ],
    ),
    15: (
        "base URL with http:// off loopback, or a link-local address",
        ["unit/test_settings.py::test_an_upstream_that_is_not_safe_is_refused_at_start"],
    ),
    16: (
        "redirect to another host",
        [
            "integration/llm/test_validation.py::test_a_redirect_is_not_followed_to_anywhere",
            "integration/llm/test_client_hostile.py::test_redirects_are_not_followed",
        ],
    ),
    17: (
        "upstream hangs or drips",
        [
            "integration/llm/test_validation.py::test_a_provider_that_never_finishes_is_given_up_at_the_total_deadline",
            "integration/llm/test_hostile_upstream.py::test_what_is_no_answer_is_no_success",
            "integration/llm/test_client_hostile.py::test_an_answer_that_never_begins_ends_as_a_time_out",
            "integration/llm/test_client_hostile.py::test_an_error_page_that_drips_does_not_hold_the_caller",
        ],
    ),
    18: (
        "5 MB HTML error body, HTML with 200",
        [
            "integration/llm/test_hostile_upstream.py::test_a_huge_error_page_is_cut",
            "integration/llm/test_validation.py::test_an_endless_or_exploding_answer_is_not_taken_in",
            "integration/llm/test_validation.py::test_a_web_page_decides_nothing_whatever_its_status",
            "integration/llm/test_client.py::test_a_web_page_instead_of_an_answer_has_unknown_tokens",
        ],
    ),
    19: (
        "foreign Origin or Host on WebSocket or route",
        [
            "integration/web/test_attacks_server.py::test_a_foreign_name_or_site_gets_403_from_every_route_and_the_web_socket",
            "integration/web/test_sign_in_routes.py::test_a_public_server_answers_under_its_public_name_only",
        ],
    ),
    20: (
        "e-mail not verified; token expired; session too old; cookie forged",
        [
            "integration/access/test_sign_in.py::test_a_token_that_does_not_say_what_it_must_is_refused_and_logged",
            "integration/access/test_sign_in.py::test_the_tokens_expiry_counts_at_first_sight_only_and_then_the_sessions_age",
            "integration/web/test_attacks_server.py::test_what_is_no_good_sign_in_ends_at_the_gate_of_the_real_server",
            "browser/test_sign_in.py::test_a_forged_cookie_is_nobody",
        ],
    ),
    21: (
        "identity header forged by a client",
        [
            "integration/web/test_attacks_server.py::test_headers_and_cookies_of_other_names_make_nobody_signed_in",
            "browser/test_sign_in.py::test_a_header_that_names_somebody_is_not_believed",
        ],
    ),
    22: (
        "formula in project, model, run or member name",
        [
            "unit/exchange/test_columns.py::test_nothing_inert_begins_like_a_formula",
            "integration/test_attacks.py::test_no_cell_of_any_export_begins_like_a_formula_whatever_things_are_called",
            "integration/access/test_members.py::test_what_is_no_e_mail_is_refused",
            "integration/ui/test_pages_access.py::test_the_file_is_complete_opens_safely_and_tells_the_same",
        ],
    ),
    23: (
        "HTML, Markdown image, RTL override, emoji, 200 characters in a name",
        [
            "integration/test_attacks.py::test_hostile_names_are_text_on_every_page",
            "integration/test_attacks.py::test_a_name_that_hides_something_is_refused",
            "browser/test_key_life.py::test_no_page_asks_another_machine_for_anything",
            "unit/ui/test_wording.py::test_no_image_icon_colour_or_link_survives_escaping",
        ],
    ),
    24: (
        "10 MB paste; two keys; masked text; other provider's key; admin key",
        [
            "unit/llm/test_key_format.py::test_each_kind_of_wrong_paste_gets_its_own_sentence",
            "unit/llm/test_key_format.py::test_each_kind_of_key_that_runs_no_claude_gets_its_own_sentence",
            "unit/llm/test_key_format.py::test_each_kind_of_key_that_runs_no_gemini_gets_its_own_sentence",
        ],
    ),
    25: (
        "SQLite locked, full disk, read-only, corrupt",
        [
            "integration/db/test_database.py::test_a_database_that_another_program_holds_is_one_sentence",
            "integration/db/test_database.py::test_a_full_disk_is_one_sentence_and_nothing_is_half_done",
            "integration/db/test_database.py::test_a_database_that_can_only_be_read_is_one_sentence_and_can_be_read",
            "integration/db/test_database.py::test_a_file_that_is_no_database_is_one_sentence_at_start",
            "integration/test_attacks.py::test_a_page_never_says_saved_where_the_database_could_not_write",
        ],
    ),
    26: (
        "validation used to test stolen keys",
        [
            "integration/test_attacks.py::test_a_person_who_tries_out_stolen_keys_is_stopped_and_each_attempt_is_logged",
            "integration/test_attacks.py::test_a_project_through_which_stolen_keys_are_tried_out_is_stopped",
            "integration/test_attacks.py::test_stolen_keys_that_are_tried_out_all_at_once_are_no_more_than_one_by_one",
        ],
    ),
    27: (
        "clock steps back or forward",
        [
            "integration/test_attacks.py::test_a_clock_that_steps_back_neither_brings_an_old_key_back_nor_loses_the_new_one",
            "integration/caps/test_caps.py::test_a_clock_that_goes_back_brings_nothing_back_into_a_window",
            "integration/caps/test_caps.py::test_a_clock_that_goes_back_lets_no_usage_out_early",
        ],
    ),
    28: (
        "signed link forged, expired, from another browser, after the right was lost",
        [
            "integration/web/test_export_route.py::test_a_forged_link_is_refused_and_logged",
            "integration/web/test_export_route.py::test_a_link_holds_for_twelve_hours",
            "integration/web/test_export_route.py::test_a_link_works_in_the_browser_it_was_made_for_only",
            "integration/web/test_export_route.py::test_a_link_ends_with_the_right_it_was_made_under",
        ],
    ),
    29: (
        "import with bad rows, huge fields, wrong encoding, negative tokens, NaN",
        [
            "integration/exchange/test_import.py::test_a_bad_row_is_told_by_line_and_reason_and_nothing_goes_in",
            "integration/exchange/test_import.py::test_the_good_rows_go_in_if_the_person_says_so",
        ],
    ),
    30: (
        "cold server, first request straight to an inner page",
        [
            "integration/web/test_attacks_server.py::test_on_a_cold_server_the_very_first_request_for_any_inner_page_ends_at_the_gate",
            "integration/ui/test_pages_shell.py::test_on_a_cold_server_no_page_is_served_past_the_gate",
        ],
    ),
    31: (
        "swapped slugs, an old key row put back, a deleted or spoiled row, a changed policy, a seal copied or deleted",
        [
            "integration/vault/test_seals.py::test_the_calls_of_a_project_that_was_changed_past_us_stop_and_those_of_the_others_go_on",
            "integration/vault/test_seals.py::test_the_next_run_and_whoever_asks_for_the_key_are_stopped_too",
            "integration/vault/test_seals.py::test_whatever_is_written_a_call_leaves_as_it_would_have_or_not_at_all",
            "integration/vault/test_seals.py::test_nobody_seals_by_the_way_what_was_changed_past_us",
        ],
    ),
    32: (
        "a started run moved to another project, or its id exchanged with another's",
        [
            "integration/vault/test_seals.py::test_a_run_that_is_moved_to_another_project_makes_no_more_calls",
            "integration/vault/test_seals.py::test_two_runs_whose_ids_are_exchanged_make_no_more_calls",
        ],
    ),
    33: (
        "all seals deleted, or the upgrade that makes them staged again, so that a changed database is sealed",
        [
            "integration/vault/test_seals_upgrade.py::test_whoever_deletes_the_seals_does_not_get_others_at_the_next_start",
            "integration/vault/test_seals_upgrade.py::test_whoever_stages_the_upgrade_again_gets_nothing_sealed",
        ],
    ),
    34: (
        "a run's id tried out by resuming it",
        [
            "integration/runs/test_runs.py::test_resuming_tells_nobody_without_a_role_that_a_run_exists",
            "integration/runs/test_runs.py::test_who_may_see_a_run_but_not_make_its_calls_is_refused_and_the_audit_log_has_it",
        ],
    ),
    35: (
        "a key read out of the variables that an error report shows, where saving was refused",
        [
            "integration/test_planted_key.py::test_whatever_keeps_a_key_from_being_saved_no_frame_shows_it",
            "unit/vault/test_master_keys.py::test_no_frame_of_a_refusal_shows_the_other_keys",
            "integration/test_no_frame_shows_a_key.py::test_at_no_line_of_any_door_a_variable_shows_it",
            "integration/test_no_frame_shows_a_key.py::test_a_file_of_master_keys_that_cannot_be_written_is_in_no_frame",
        ],
    ),
    36: (
        "local mode asked from another machine, under any server, with forged addresses or through a proxy",
        [
            "integration/web/test_local_mode.py::test_another_machine_gets_a_sentence_and_nothing_else_whatever_it_says_of_itself",
            "integration/web/test_local_mode.py::test_what_a_proxy_on_this_machine_passes_on_is_not_served",
            "integration/web/test_local_mode.py::test_a_unix_socket_is_a_proxys_and_not_served",
            "integration/web/test_local_mode.py::test_settings_that_cannot_be_used_are_as_closed_as_the_local_mode",
        ],
    ),
    37: (
        "a base path, under which closed addresses would be open",
        [
            "integration/web/test_local_mode.py::test_a_base_path_ends_the_start_with_a_sentence",
            "integration/web/test_local_mode.py::test_under_a_root_path_nothing_is_served_and_nothing_opens",
        ],
    ),
    38: (
        "an e-mail address or domain with a letter that folds to another",
        [
            "integration/access/test_sign_in.py::test_a_letter_that_folds_to_another_makes_nobody_somebody_else",
            "integration/access/test_members.py::test_a_look_alike_of_a_member_has_no_role_and_removes_nobody",
            "unit/test_settings.py::test_addresses_and_domains_are_checked_as_they_came",
        ],
    ),
    39: (
        "an address that a trusted issuer does not vouch for",
        [
            "integration/access/test_sign_in.py::test_what_a_trusted_issuer_does_say_is_heeded",
            "integration/access/test_sign_in.py::test_a_trusted_issuer_speaks_for_the_named_domains_only",
        ],
    ),
    40: (
        "a platform key that any library of a worker would find",
        [
            "unit/test_settings.py::test_a_key_that_any_library_would_find_is_warned_of_without_being_told",
            "integration/cli/test_cli.py::test_the_doctor_warns_of_a_key_that_any_library_would_find",
        ],
    ),
    41: (
        "user information or a path in the Host header",
        ["integration/web/test_web.py::test_a_name_that_is_not_ours_gets_no_answer"],
    ),
    42: (
        "a sign-in's callback on a server that did not begin it, or forged",
        [
            "integration/web/test_sign_in_routes.py::test_a_callback_that_signs_nobody_in_says_so_and_keeps_the_wanted_address",
            "browser/test_several_dashboards.py::test_a_callback_that_lands_on_the_wrong_dashboard_says_so_and_offers_to_try_again",
        ],
    ),
    43: (
        "an inline script planted in a page",
        ["browser/test_console.py::test_no_script_runs_that_is_not_ours"],
    ),
    44: (
        "requests that are sent by half, or byte by byte, to hold connections",
        [
            "integration/web/test_half_sent.py::test_a_request_that_is_sent_by_half_is_closed",
            "integration/web/test_half_sent.py::test_bytes_that_drip_do_not_put_it_off",
            "integration/web/test_half_sent.py::test_the_dashboard_holds_a_limited_number_of_half_sent_requests_for_a_limited_time",
        ],
    ),
}
