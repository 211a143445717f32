<?php
// Makes the lab's site: php install.php SITE
// Prints one JSON object: the administrator's application password, and those of a user, whose
// number is told.
define( 'WP_INSTALLING', true );
require $argv[1] . '/wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';

wp_install( 'lab', 'admin', 'admin@example.com', false, '', 'made-up-password-of-the-lab' );
update_option( 'permalink_structure', '/%postname%/' );
$mail = wp_insert_user(
	array(
		'user_login' => 'mail',
		'user_pass'  => 'made-up-password-of-the-lab',
		'role'       => 'author',
	)
);

function password( $user, $name ) {
	$made = WP_Application_Passwords::create_new_application_password( $user, array( 'name' => $name ) );
	return $made[0];
}

echo json_encode(
	array(
		'admin' => password( 1, 'rotate' ),
		'user'  => $mail,
		'mail'  => password( $mail, 'mail' ),
		'other' => password( $mail, 'other' ),
	)
);
